//! Servers that `scripts/real-parts.sh` starts, with a separate folder for each test.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/real-parts.sh");

/// Running servers. When the value is dropped, they are stopped and their data is removed.
#[derive(Debug)]
pub(crate) struct RealParts {
    dir: PathBuf,
    urls: HashMap<String, String>,
    /// The servers that were killed and do not run again.
    away: HashSet<String>,
    /// When a server was away last.
    last_away: Option<Instant>,
}

impl RealParts {
    /// Starts servers in a folder named after `name`. Servers that an aborted run has left there are stopped first.
    pub(crate) fn start(name: &str, servers: &[&str]) -> Self {
        // each working copy of the repository has its own folder
        let copy = env!("CARGO_MANIFEST_DIR").replace('/', "-");
        let dir = std::env::temp_dir().join(format!("real-parts-{name}{copy}"));
        script(&dir, &["stop"]);
        let mut parts = Self { dir, urls: HashMap::new(), away: HashSet::new(), last_away: None };
        parts.run_start(servers);
        parts.urls = parts.read_urls();
        parts
    }

    /// Returns the URL in a variable of `scripts/real-parts.sh urls`.
    pub(crate) fn url(&self, variable: &str) -> &str {
        self.urls.get(variable).unwrap_or_else(|| panic!("no server has set {variable}"))
    }

    /// Kills a server with SIGKILL.
    pub(crate) fn kill(&mut self, server: &str) {
        self.away.insert(server.to_owned());
        let killed = Command::new("kill").args(["-9", &self.pid(server)]).status().expect("`kill` runs");
        assert!(killed.success(), "{server} did not run");
    }

    /// Starts servers again that were killed. They have the same ports and the same data; Redis has no data.
    pub(crate) fn restart(&mut self, servers: &[&str]) {
        if servers.contains(&"postgres") {
            self.remove_lock_file();
        }
        self.run_start(servers);
        for (variable, url) in self.read_urls() {
            assert_eq!(url, self.url(&variable), "a server has another port");
        }
        for server in servers {
            self.away.remove(*server);
        }
        self.last_away = Some(Instant::now());
    }

    /// Returns whether a server was away at this time or later.
    pub(crate) fn were_away_since(&self, time: Instant) -> bool {
        !self.away.is_empty() || self.last_away.is_some_and(|last| last >= time)
    }

    /// Removes the lock file of a killed PostgreSQL, which refuses to start while the killed process is a zombie.
    fn remove_lock_file(&self) {
        let data = self.dir.join("postgres/data");
        let started = Instant::now();
        // The folder is the working directory of all processes of the server. A zombie has no working directory.
        while works_in(&data) {
            assert!(started.elapsed() < Duration::from_secs(30), "a killed PostgreSQL does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_file(data.join("postmaster.pid"));
    }

    fn pid(&self, server: &str) -> String {
        let pid = fs::read_to_string(self.dir.join(server).join("pid")).expect("a server has a file with its pid");
        pid.trim().to_owned()
    }

    fn run_start(&self, servers: &[&str]) {
        let arguments: Vec<&str> = ["start"].iter().chain(servers).copied().collect();
        script(&self.dir, &arguments);
    }

    fn read_urls(&self) -> HashMap<String, String> {
        let urls = script(&self.dir, &["urls"]);
        let assignments = urls.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        assignments.map(|(name, url)| (name.to_owned(), url.to_owned())).collect()
    }
}

impl Drop for RealParts {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).arg("stop").env("REAL_PARTS_DIR", &self.dir).status();
    }
}

/// Returns whether a process has this working directory.
fn works_in(dir: &Path) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc is a folder").flatten();
    processes.into_iter().any(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == dir))
}

fn script(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(SCRIPT).args(arguments).env("REAL_PARTS_DIR", dir).output().expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "real-parts.sh {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("URLs are text")
}
