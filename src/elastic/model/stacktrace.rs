//! A frame of a stack.

use super::{model, value::Entries};

model! {
    /// One of file name and class name must be there. The innermost frame comes first.
    #[derive(Default)]
    struct Frame<'a> {
        filename: Option<&'a str>,
        classname: Option<&'a str>,
        function: Option<&'a str>,
        module: Option<&'a str>,
        lineno: Option<u32>,
        colno: Option<u32>,
        library_frame: Option<bool>,
        abs_path: Option<&'a str>,
        context_line: Option<&'a str>,
        pre_context: Vec<&'a str>,
        post_context: Vec<&'a str>,
        vars: Entries<'a, &'a str>,
    }
}
