//! This process (agent-spec 10.2).

use super::{Named, gauge, kernel, kilobytes};

/// User and system ticks out of `/proc/self/stat`. The program's name, in parentheses, may hold anything.
pub(super) fn cpu(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    // the third field of the line is the first of the rest
    let mut fields = rest.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

pub(super) fn memory() -> Vec<Named> {
    kernel("/proc/self/status").map_or_else(Vec::new, |text| of_status(&text))
}

fn of_status(text: &str) -> Vec<Named> {
    let named = [("system.process.memory.size", "VmSize"), ("system.process.memory.rss.bytes", "VmRSS")];
    named.into_iter().filter_map(|(name, field)| Some(gauge(name, kilobytes(text, field)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: metrics.md
    #[test]
    fn process_memory_is_read() {
        let status = "Name:\tVmSize: 1\nVmPeak:\t 9 kB\nVmSize:\t 100 kB\nVmRSS:\t 40 kB\n";
        let want = [("system.process.memory.size", 102_400.0), ("system.process.memory.rss.bytes", 40_960.0)];
        assert_eq!(of_status(status), want.map(|(name, value)| gauge(name, value)));
    }

    #[test]
    fn incomplete_proc_files_give_no_metrics() {
        for text in
            ["", "7 (a", "7 (a) S 1 2", "7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 5", "7 (a) S 1 7 7 0 -1 4 1 2 3 4 x 6"]
        {
            assert_eq!(cpu(text), None, "{text}");
        }
        assert_eq!(of_status("VmSize:\nVmRSS: many kB"), []);
    }
}
