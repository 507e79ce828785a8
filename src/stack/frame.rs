//! One frame, and the way there from each form of a stack.

use super::{names, report, symbols, text};
use crate::record::{SourceLocation, Stack, UnformattedError};

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
    /// Between what happened and the code that caught the stack.
    pub(crate) glue: bool,
    /// Returns true for frames of the framework that calls handlers and middleware.
    pub(crate) framework: bool,
}

impl Frame {
    pub(super) fn new(function: Option<&str>, file: Option<&str>, line: Option<u32>, column: Option<u32>) -> Self {
        let function = function.map(names::function);
        // inlined, with line tables only: the name has no path, and the file must tell
        let has_path = function.as_deref().is_some_and(|name| name.contains("::"));
        let by_file = file.filter(|_| !has_path).and_then(names::crate_of_file);
        let whose = by_file.as_deref().unwrap_or_else(|| names::crate_of(function.as_deref().unwrap_or_default()));
        let library = match (file, function.as_deref()) {
            (Some(file), _) if names::is_library_file(file) || names::is_own_file(file) => true,
            (Some(_), Some(name)) if name.starts_with('{') => false,
            (_, name) => name.is_some() && names::is_library_crate(whose),
        };
        let glue = function.as_deref().is_some_and(names::is_own_trait)
            || library && function.is_some() && names::is_glue_crate(whose);
        let framework = library && names::is_framework_crate(whose);
        let module = function.as_deref().and_then(names::module).map(str::to_owned);
        Self { module, function, file: file.map(names::file), line, column, library, glue, framework }
    }

    /// Creates the frame of a place without a function.
    pub(super) fn at(place: &SourceLocation) -> Self {
        let column = Some(place.column).filter(|column| *column > 0);
        Self::new(None, Some(&place.file), Some(place.line), column)
    }

    /// Returns true for implementations of axum's `IntoResponse`, which convert errors of any origin into responses.
    pub(crate) fn is_into_response(&self) -> bool {
        let name = self.function.as_deref().unwrap_or_default();
        name == "into_response" || name.ends_with("IntoResponse>::into_response")
    }

    /// Of one function: closures within closures, and what calls itself.
    fn is_same_function(&self, other: &Self) -> bool {
        self.function.is_some() && self.function == other.function && self.module == other.module
    }
}

/// At most `limit` frames, the innermost first, as the server groups them.
///
/// What caught the stack (panic machinery, error constructors, this agent) is cut off its top, unless nothing else is
/// there. The libraries' frames in which it happened stay; those between and below the application's are left out: they
/// are the runtime's, and the compiler inlines them as it likes. Frames below the framework that called the handler are cut
/// off too: they are middleware and `main`, the same for every error. So are `into_response` functions, which turn errors of
/// any place into responses, unless they panic or log.
pub(crate) fn resolve(stack: Stack, limit: usize) -> Vec<Frame> {
    if limit == 0 {
        return Vec::new();
    }
    let (mut frames, place) = match stack {
        Stack::None => (Vec::new(), None),
        Stack::Captured(captured) => (own_frames(resolved(*captured)), None),
        Stack::Panic { stack, place } => (without_glue_and_callers(resolved(*stack)), Some(place)),
        Stack::Text(text) => (own_frames(text::frames(&text)), None),
        Stack::Location(place) => (Vec::new(), Some(place)),
        Stack::Event { stack, place, module, created } => {
            let mut frames = resolved(*stack);
            begin_where_logged(&mut frames, &place, module);
            frames = without_glue_and_callers(frames);
            if let Some(created) = created {
                frames.insert(0, Frame::at(&created));
            }
            (frames, None)
        }
        Stack::Attached { stack, report } => (attached(*stack, report), None),
    };
    frames.dedup_by(|outer, inner| inner.is_same_function(outer));
    if let Some(place) = place {
        fill(&mut frames, &place);
    }
    frames.truncate(limit);
    frames
}

/// Returns the frames that show where in the application the error occurred.
fn own_frames(frames: Vec<Frame>) -> Vec<Frame> {
    let mut frames = without_glue_and_callers(frames);
    frames.retain(|frame| !frame.is_into_response());
    frames
}

/// Removes the frames above the place of the error, the frames of the framework and below, and frames of libraries
/// between.
fn without_glue_and_callers(mut frames: Vec<Frame>) -> Vec<Frame> {
    let glue = frames.iter().take_while(|frame| frame.glue).count();
    if glue < frames.len() {
        frames.drain(..glue);
    }
    if let Some(first) = frames.iter().position(|frame| !frame.library) {
        if let Some(framework) = frames[first..].iter().position(|frame| frame.framework) {
            frames.truncate(first + framework);
        }
        let mut at = 0..;
        frames.retain(|frame| at.next() <= Some(first) || !frame.library);
    }
    frames
}

/// Returns the stack in the error, if there is one, otherwise the frames between the handler and the attachment.
///
/// An error that the framework converted into a response has no such frames.
fn attached(stack: backtrace::Backtrace, report: Option<UnformattedError>) -> Vec<Frame> {
    if let Some(frames) = report.and_then(report::frames) {
        return own_frames(frames);
    }
    let mut frames = resolved(stack);
    let glue = frames.iter().take_while(|frame| frame.glue).count();
    let framework = frames[glue..].iter().position(|frame| frame.framework);
    frames.truncate(framework.map_or(frames.len(), |framework| glue + framework));
    frames.drain(..glue);
    own_frames(frames)
}

/// Cuts off what is between the code that logged an event and the code that took the stack: frames of macros, of layers and
/// of subscribers. The first frame is then the function that logged, at the line of the event.
///
/// A function without debug information has no file. The event's location is then a separate frame, unless the function is
/// known by its module.
fn begin_where_logged(frames: &mut Vec<Frame>, place: &SourceLocation, module: Option<&'static str>) {
    let mut logged = Frame::new(None, Some(&place.file), Some(place.line), None);
    logged.module = module.map(str::to_owned);
    let is_in_file = |frame: &Frame| {
        let files = frame.file.as_deref().zip(logged.file.as_deref());
        files.is_some_and(|(file, logged)| is_same_file(file, logged)) && is_in_crate(frame, module)
    };
    let is_in_module = |frame: &Frame| frame.file.is_none() && module.is_some() && frame.module.as_deref() == module;
    let found = frames.iter().position(is_in_file).or_else(|| frames.iter().position(is_in_module));
    match found {
        Some(at) => {
            frames.drain(..at);
            let first = &mut frames[0];
            if first.line != logged.line {
                (first.line, first.column) = (logged.line, None);
            }
            first.file = first.file.take().or(logged.file);
            // code of a macro has the macro's crate for its file
            (first.library, first.glue) = (logged.library, false);
        }
        None => {
            let glue = frames.iter().take_while(|frame| frame.glue).count();
            frames.splice(..glue, [logged]);
        }
    }
}

/// Whether two paths, each relative to some folder, end alike: `shop/src/market.rs` and `src/market.rs`.
fn is_same_file(one: &str, other: &str) -> bool {
    let (long, short) = if one.len() < other.len() { (other, one) } else { (one, other) };
    long.strip_suffix(short).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// False for a function that is known to be of another crate than the module.
fn is_in_crate(frame: &Frame, module: Option<&str>) -> bool {
    let function = frame.function.as_deref().filter(|function| function.contains("::"));
    function.zip(module).is_none_or(|(function, module)| names::crate_of(function) == names::crate_of(module))
}

/// A panic knows where it was raised, also where there is no debug information.
fn fill(frames: &mut Vec<Frame>, place: &SourceLocation) {
    let raised = Frame::at(place);
    if frames.is_empty() {
        return frames.push(raised);
    }
    let is_library = names::is_library_file(&place.file);
    if let Some(frame) = frames.iter_mut().find(|frame| frame.library == is_library)
        && frame.file.is_none()
    {
        let Frame { file, line, column, .. } = raised;
        (frame.file, frame.line, frame.column) = (file, line, column);
    }
}

fn resolved(captured: backtrace::Backtrace) -> Vec<Frame> {
    let mut frames = Vec::new();
    for frame in captured.frames() {
        if !symbols::add(frame.ip() as usize, &mut frames) {
            by_library(frame, &mut frames);
        }
    }
    frames.retain(|frame| frame.function.is_some() || frame.file.is_some());
    frames
}

/// Under the lock that capturing takes: let go after each frame.
pub(super) fn by_library(frame: &backtrace::BacktraceFrame, frames: &mut Vec<Frame>) {
    backtrace::resolve(frame.ip(), |symbol| {
        let name = symbol.name().map(|name| format!("{name:#}"));
        let file = symbol.filename().and_then(std::path::Path::to_str);
        frames.push(Frame::new(name.as_deref(), file, symbol.lineno(), symbol.colno()));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_stack_contains_no_capture_frames() {
        let stack = Stack::Captured(Box::new(backtrace::Backtrace::new_unresolved()));
        let frames = resolve(stack, 50);
        let first = frames.first().unwrap();
        assert!(!first.glue, "{first:?}");
        assert!(frames.len() <= 50);
        assert!(
            frames.iter().all(|frame| frame.file.as_deref().is_none_or(|file| !file.starts_with('/'))),
            "{frames:?}"
        );
    }

    #[test]
    fn stack_limit_keeps_the_innermost_frames() {
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
    fn stack_of_framework_frames_alone_is_kept() {
        assert_eq!(resolve(Stack::Text("   0: core::option::unwrap_failed\n".into()), 50).len(), 1);
    }

    #[test]
    fn trait_methods_of_the_agent_are_removed() {
        let text = "   0: <http::response::Response<B> as tower_apm::server::response_error::ResponseExt>::with_error\n   \
                    1: <shop::AppError as shop::IntoAnswer>::into_answer\n";
        let [first] = &resolve(Stack::Text(text.into()), 50)[..] else { panic!("not one frame") };
        assert_eq!(first.module.as_deref(), Some("shop"));
        assert!(first.function.as_deref().is_some_and(|name| name.starts_with("<shop::AppError")), "{first:?}");
    }

    #[test]
    fn into_response_and_middleware_frames_are_removed() {
        let text = "   0: <shop::AppError as axum_core::response::into_response::IntoResponse>::into_response\n   \
                    1: shop::buy\n   2: core::result::Result<T,E>::map_err\n   3: shop::purchase::{{closure}}\n   \
                    4: <F as axum::handler::Handler<(M,T1),S>>::call::{{closure}}\n   5: shop::auth::{{closure}}\n   \
                    6: axum::middleware::from_fn::FromFn::call\n   7: shop::main\n";
        let functions = |text: &str| {
            let frames = recorded(text).into_iter();
            frames.map(|frame| frame.function.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(functions(text), ["shop::buy", "shop::purchase"]);
        let text = "   0: <shop::AppError as axum_core::response::into_response::IntoResponse>::into_response\n   \
                    1: axum_core::response::into_response::<impl IntoResponse for Result<T,E>>::into_response\n   \
                    2: shop::auth::{{closure}}\n";
        assert_eq!(functions(text), [""; 0]);
        // the error of a failed middleware occurred in the middleware
        let text = "   0: shop::auth::{{closure}}\n   1: axum::middleware::Next::run\n   2: shop::main\n";
        assert_eq!(functions(text), ["shop::auth"]);
    }

    // spec: error-tracking.md
    #[test]
    fn framework_frame_without_a_path_is_recognized_by_its_file() {
        let file = |name: &str| format!("/home/ada/.cargo/registry/src/registry.example-0123456789abcdef/{name}");
        let text = format!(
            "   0: here\n at {}:1:2\n   1: with_inner_mut\n at {}:3:4\n   2: drop_in_place\n at /rustc/17067e9a/library/core/src/ptr/\
             mod.rs:5:6\n   3: run_query\n at {}:7:8\n   4: buy\n at /home/ada/shop/src/market.rs:9:10\n",
            file("tower-apm-0.1.0/src/stack/mod.rs"),
            file("opentelemetry-0.33.1/src/trace/context.rs"),
            file("sqlx-core-0.9.0/src/pool.rs"),
        );
        let frames = resolve(Stack::Text(text.into()), 50);
        let told: Vec<_> = frames.iter().map(|frame| (frame.function.as_deref().unwrap(), frame.library)).collect();
        assert_eq!(told, [("run_query", true), ("buy", false)], "the library in which it happened stays");
    }

    #[test]
    fn panic_location_is_one_frame() {
        let stack =
            Stack::Location(SourceLocation { file: "/home/ada/shop/src/market/service.rs".into(), line: 7, column: 3 });
        let [frame] = &resolve(stack, 50)[..] else { panic!("not one frame") };
        assert_eq!(frame.file.as_deref(), Some("shop/src/market/service.rs"));
        assert_eq!((frame.line, frame.library, frame.function.as_deref()), (Some(7), false, None));
    }

    fn recorded(text: &str) -> Vec<Frame> {
        resolve(Stack::Text(text.into()), 50)
    }

    /// What the server's grouping key is made of.
    fn grouping(frames: &[Frame]) -> Vec<(&str, &str)> {
        let part = Option::as_deref;
        frames
            .iter()
            .map(|frame| (part(&frame.module).unwrap_or_default(), part(&frame.function).unwrap_or_default()))
            .collect()
    }

    /// `recorded/shop.rs.txt`, built in several ways.
    const DEBUG: &str = include_str!("recorded/debug.txt");
    const RELEASE: &str = include_str!("recorded/release.txt");
    const RELEASE_V0: &str = include_str!("recorded/release_v0.txt");
    const LINE_TABLES: &str = include_str!("recorded/release_line_tables.txt");
    const BARE: &str = include_str!("recorded/release_without_debug_info.txt");

    // spec: error-tracking.md
    #[test]
    fn error_grouping_is_the_same_in_every_build_with_debug_info() {
        let debug = recorded(DEBUG);
        let want = [
            ("shop::market", "shop::market::report"),
            ("shop::market", "<shop::market::Chain as shop::market::Settle>::settle"),
            ("shop::market", "shop::market::buy"),
            ("shop::market", "shop::market::checked"),
            ("shop::market", "shop::market::buy"),
            ("shop", "shop::handle"),
            ("shop", "shop::block_on"),
            ("shop", "shop::main"),
        ];
        assert_eq!(grouping(&debug), want);
        let release = recorded(RELEASE);
        assert_eq!(grouping(&release), want);
        assert_eq!(grouping(&recorded(RELEASE_V0)), want);
        let lines = |frames: &[Frame]| frames.iter().map(|frame| frame.line).collect::<Vec<_>>();
        assert_ne!(lines(&debug), lines(&release), "the code around has changed");
    }

    // spec: error-tracking.md
    #[test]
    fn frames_without_debug_info_have_the_same_names() {
        let (debug, bare) = (recorded(DEBUG), recorded(BARE));
        let (debug, bare) = (grouping(&debug), grouping(&bare));
        let mut all = debug.iter();
        assert!(bare.len() > 3 && bare.iter().all(|frame| all.any(|other| other == frame)), "{bare:?}");
    }

    // spec: error-tracking.md
    #[test]
    fn frames_with_line_tables_only_are_classified_by_file() {
        let frames = recorded(LINE_TABLES);
        let lines: Vec<_> = frames.iter().map(|frame| (frame.file.as_deref(), frame.line)).collect();
        assert!(lines.iter().all(|(file, _)| *file == Some("shop.rs")), "{lines:?}");
        let debug: Vec<_> = recorded(DEBUG).iter().map(|frame| frame.line).collect();
        assert_eq!(lines.first().map(|(_, line)| *line), debug.first().copied());
        assert!(
            !frames.iter().any(|frame| frame.function.as_deref().is_some_and(|name| name.contains('#'))),
            "{frames:?}"
        );
    }

    // spec: error-tracking.md
    #[test]
    fn panic_location_fills_the_first_frame_without_one() {
        let place = |file: &str| SourceLocation { file: file.to_owned().into(), line: 30, column: 9 };
        let mut frames = recorded(BARE);
        fill(&mut frames, &place("src/market.rs"));
        let own: Vec<_> = frames.iter().filter(|frame| !frame.library).map(|frame| frame.line).collect();
        assert_eq!((frames[0].file.as_deref(), own[0], own[1]), (Some("src/market.rs"), Some(30), None));
        // what is known stays
        let mut frames = recorded(DEBUG);
        let before = frames.clone();
        fill(&mut frames, &place("src/market.rs"));
        assert_eq!(frames, before);
        // a library's place is not the application's
        let mut frames = recorded(BARE);
        fill(&mut frames, &place("/rustc/17067e9ac6d/library/core/src/option.rs"));
        assert_eq!(frames, recorded(BARE));
    }
}
