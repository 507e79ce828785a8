#![cfg_attr(fuzzing, no_main)]

tower_apm_fuzz::fuzz!(otlp);
