//! One frame, and the way there from each form of a stack.

use super::{names, text};
use crate::record::{Place, Stack};

/// One call of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The full path of the function, the same in every build of the same source.
    pub(crate) function: Option<String>,
    /// The path of the function without its last part.
    pub(crate) module: Option<String>,
    /// Relative: to the workspace, or beginning with the crate's name and version.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    /// Not of the application: the standard library, the runtime, a crate from a registry, or this agent.
    pub(crate) library: bool,
}

impl Frame {
    pub(super) fn new(function: Option<&str>, file: Option<&str>, line: Option<u32>, column: Option<u32>) -> Self {
        let function = function.map(names::function);
        let library = file.is_some_and(names::is_library_file)
            || function.as_deref().is_some_and(|name| names::is_library_crate(names::crate_of(name)));
        let module = function.as_deref().and_then(names::module).map(str::to_owned);
        Self { module, function, file: file.map(names::file), line, column, library }
    }

    fn is_glue(&self) -> bool {
        self.function
            .as_deref()
            .is_some_and(|name| names::is_glue_crate(names::crate_of(name)) || names::is_own_trait(name))
    }
}

/// At most `limit` frames, the innermost first. What caught the stack (panic machinery, error constructors, this
/// agent) is cut off its top, unless nothing else is there.
pub(crate) fn resolve(stack: Stack, limit: usize) -> Vec<Frame> {
    let mut frames = match stack {
        _ if limit == 0 => return Vec::new(),
        Stack::None => Vec::new(),
        Stack::Captured(captured) => resolved(*captured),
        Stack::Text(text) => text::frames(&text),
        Stack::Panic { stack, .. } => resolved(*stack),
        Stack::Location(at) => vec![Frame::new(None, Some(&at.file), Some(at.line), Some(at.column))],
    };
    let glue = frames.iter().take_while(|frame| frame.is_glue()).count();
    if glue < frames.len() {
        frames.drain(..glue);
    }
    frames.truncate(limit);
    frames
}

fn resolved(mut captured: backtrace::Backtrace) -> Vec<Frame> {
    captured.resolve();
    let symbols = captured.frames().iter().flat_map(|frame| frame.symbols());
    symbols
        .map(|symbol| {
            let name = symbol.name().map(|name| format!("{name:#}"));
            let file = symbol.filename().and_then(std::path::Path::to_str);
            Frame::new(name.as_deref(), file, symbol.lineno(), symbol.colno())
        })
        .filter(|frame| frame.function.is_some() || frame.file.is_some())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_stack_has_no_capture_in_it() {
        let stack = Stack::Captured(Box::new(backtrace::Backtrace::new_unresolved()));
        let frames = resolve(stack, 50);
        let first = frames.first().unwrap();
        assert!(!first.is_glue(), "{first:?}");
        assert!(frames.len() <= 50);
        assert!(
            frames.iter().all(|frame| frame.file.as_deref().is_none_or(|file| !file.starts_with('/'))),
            "{frames:?}"
        );
    }

    #[test]
    fn the_limit_counts_from_the_innermost() {
        let stack = || Stack::Text("   0: shop::a\n   1: shop::b\n   2: shop::c\n".into());
        let functions = |limit| {
            let frames = resolve(stack(), limit).into_iter();
            frames.map(|frame| frame.function.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(functions(2), ["shop::a", "shop::b"]);
        assert_eq!(functions(usize::MAX).len(), 3);
        assert!(functions(0).is_empty());
    }

    #[test]
    fn a_stack_of_glue_alone_is_kept() {
        assert_eq!(resolve(Stack::Text("   0: core::option::unwrap_failed\n".into()), 50).len(), 1);
    }

    #[test]
    fn our_traits_on_types_of_others_are_cut_off_too() {
        let text = "   0: <http::response::Response<B> as tower_apm::server::response_error::ResponseExt>::with_error\n   \
                    1: <shop::AppError as axum_core::response::IntoResponse>::into_response\n";
        let [first] = &resolve(Stack::Text(text.into()), 50)[..] else { panic!("not one frame") };
        assert_eq!(first.module, None);
        assert!(first.function.as_deref().is_some_and(|name| name.starts_with("<shop::AppError")), "{first:?}");
    }

    #[test]
    fn a_panic_location_is_one_frame() {
        let stack = Stack::Location(Place { file: "/home/ada/shop/src/market/service.rs".into(), line: 7, column: 3 });
        let [frame] = &resolve(stack, 50)[..] else { panic!("not one frame") };
        assert_eq!(frame.file.as_deref(), Some("shop/src/market/service.rs"));
        assert_eq!((frame.line, frame.library, frame.function.as_deref()), (Some(7), false, None));
    }
}
