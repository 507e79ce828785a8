//! Functions and places in the source, by address: read out of the program's own file.
//!
//! The library that captures stacks could tell them too, but under the one lock that capturing takes as well: a request
//! that captures a stack while the first one is resolved would wait for as long as reading the debug information takes.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use addr2line::Loader;

use super::frame::Frame;

/// One for all agents of the process: only their workers, which resolve, wait for each other here.
static PROGRAM: Mutex<Program> = Mutex::new(Program { objects: Vec::new() });

/// What is loaded into this process.
struct Program {
    objects: Vec<Object>,
}

/// The program or one of its libraries.
struct Object {
    path: PathBuf,
    start: u64,
    end: u64,
    /// None where it is not looked at yet.
    loader: Option<Option<Loader>>,
}

/// Adds the functions that run at an address, the innermost first. Adds none if the file has neither debug information nor
/// symbols. Returns false if the file cannot be found or read.
pub(super) fn add(address: usize, frames: &mut Vec<Frame>) -> bool {
    PROGRAM.lock().unwrap_or_else(PoisonError::into_inner).add(address as u64, frames)
}

impl Program {
    fn add(&mut self, address: u64, frames: &mut Vec<Frame>) -> bool {
        if !self.objects.iter().any(|object| object.holds(address)) {
            let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
            for object in objects(&maps) {
                if !self.objects.iter().any(|known| known.path == object.path) {
                    self.objects.push(object);
                }
            }
        }
        self.objects.iter_mut().find(|object| object.holds(address)).is_some_and(|object| object.add(address, frames))
    }
}

impl Object {
    fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    fn add(&mut self, address: u64, frames: &mut Vec<Frame>) -> bool {
        let loader = self.loader.get_or_insert_with(|| Loader::new(&self.path).ok());
        let Some(loader) = loader else { return false };
        // that of the call, and not of what comes after it
        let at = (address - self.start).saturating_sub(1).saturating_add(loader.relative_address_base());
        let symbol = || loader.find_symbol(at).map(demangled);
        let mut last = None;
        if let Ok(mut found) = loader.find_frames(at) {
            while let Ok(Some(frame)) = found.next() {
                let name = frame.function.and_then(|name| Some(demangled(&name.raw_name().ok()?)));
                let place = frame.location;
                let file = place.as_ref().and_then(|place| place.file);
                let (line, column) = place.as_ref().map_or((None, None), |place| (place.line, place.column));
                frames.push(Frame::new(name.as_deref(), file, line, column));
                last = Some((name, file, line, column));
            }
        }
        match last {
            // With line tables only, debug information has no paths. The symbol is that of the outermost function: the
            // functions before it are inlined.
            Some((name, file, line, column)) if !name.as_deref().is_some_and(|name| name.contains("::")) => {
                if let Some(name) = symbol() {
                    frames.pop();
                    frames.push(Frame::new(Some(&name), file, line, column));
                }
            }
            Some(_) => {}
            None => frames.extend(symbol().map(|name| Frame::new(Some(&name), None, None, None))),
        }
        true
    }
}

/// Without the hash.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The files of `/proc/self/maps`, with the whole range that each is mapped to:
/// `7f0c-7f0d r-xp 00000000 fe:00 42   /usr/lib/libc.so.6`.
fn objects(maps: &str) -> Vec<Object> {
    let mut found: Vec<Object> = Vec::new();
    for line in maps.lines() {
        let mut fields = line.splitn(6, ' ');
        let range = fields.next().and_then(|range| range.split_once('-'));
        let path = fields.nth(4).map(str::trim_start).filter(|path| path.starts_with('/'));
        let (Some((start, end)), Some(path)) = (range, path) else { continue };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
        match found.last_mut().filter(|last| last.path.as_os_str() == path) {
            Some(last) => last.end = end,
            None => found.push(Object { path: path.into(), start, end, loader: None }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_segments_of_a_file_are_joined() {
        let maps = "55d0a000-55d0b000 r--p 00000000 fe:00 42                         /srv/my shop\n\
                    55d0b000-55d0f000 r-xp 00001000 fe:00 42                         /srv/my shop\n\
                    55d10000-55d20000 rw-p 00000000 00:00 0                          [heap]\n\
                    7f000000-7f001000 rw-p 00000000 00:00 0\n\
                    7f001000-7f002000 r-xp 00000000 fe:00 43                         /usr/lib/libc.so.6\n\
                    nonsense\n";
        let found: Vec<_> = objects(maps).into_iter().map(|object| (object.path, object.start, object.end)).collect();
        let want = [("/srv/my shop", 0x55d0_a000, 0x55d0_f000), ("/usr/lib/libc.so.6", 0x7f00_1000, 0x7f00_2000)];
        assert_eq!(found, want.map(|(path, start, end)| (PathBuf::from(path), start, end)));
    }

    /// Here both ways are open, and tell the same.
    #[test]
    #[cfg(target_os = "linux")]
    fn symbols_of_the_program_file_match_the_backtrace_crate() {
        let captured = backtrace::Backtrace::new_unresolved();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for frame in captured.frames() {
            let before = ours.len();
            // debug information in a file of its own, as of the C library, is not looked for
            if add(frame.ip() as usize, &mut ours) && ours.len() > before {
                super::super::frame::by_library(frame, &mut theirs);
            }
        }
        assert_eq!(ours, theirs);
        let is_this = |frame: &Frame| {
            let name = frame.function.as_deref().unwrap_or_default();
            name.ends_with("symbols_of_the_program_file_match_the_backtrace_crate") && frame.line.is_some()
        };
        assert!(ours.iter().any(is_this), "{ours:#?}");
    }
}
