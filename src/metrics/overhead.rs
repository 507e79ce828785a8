//! What the agent's own thread takes of the processors (agent-spec 10.5).

use super::{Named, gauge, kernel, process, system::CpuTimes};

/// The name of the thread: what is told here is found under it with `top -H` too.
pub(super) const TASK: &str = "tower-apm";

/// Ticks of the thread at the last report. A thread begins at 0.
#[derive(Debug, Default)]
pub(super) struct Overhead {
    ticks: u64,
}

impl Overhead {
    /// The shares of the thread that calls it, in the time between two readings; none where the system does not tell.
    pub(super) fn read(&mut self, now: CpuTimes, before: CpuTimes) -> Vec<Named> {
        kernel("/proc/thread-self/stat").map_or_else(Vec::new, |stat| self.of(&stat, now, before))
    }

    fn of(&mut self, stat: &str, now: CpuTimes, before: CpuTimes) -> Vec<Named> {
        let Some((user, system)) = process::cpu(stat) else { return Vec::new() };
        let ticks = user + system;
        let own = ticks.saturating_sub(std::mem::replace(&mut self.ticks, ticks));
        let (host, process) = now.ticks_since(before);
        // a thread's ticks and its process's are not read at the same moment
        let share = |whole: u64| if whole == 0 { 0.0 } else { (own as f64 / whole as f64).min(1.0) };
        vec![
            gauge("agent.background.cpu.overhead.pct", share(process)),
            gauge("agent.background.cpu.total.pct", share(host)),
            gauge("agent.background.threads.count", 1.0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(user: u64, system: u64) -> String {
        format!("7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 {user} {system} 0 0 20 0 1 0 100 9 8 0")
    }

    fn times(host: u64, process: u64) -> CpuTimes {
        CpuTimes::of(&format!("cpu  {host} 0 0 0 0 0 0 0\n"), &stat(process, 0)).unwrap()
    }

    fn want(overhead: f64, total: f64) -> [Named; 3] {
        [
            gauge("agent.background.cpu.overhead.pct", overhead),
            gauge("agent.background.cpu.total.pct", total),
            gauge("agent.background.threads.count", 1.0),
        ]
    }

    // spec: metrics-health.md
    #[test]
    fn cpu_share_of_the_worker_is_since_the_last_report() {
        let mut overhead = Overhead::default();
        assert_eq!(overhead.of(&stat(3, 2), times(1200, 120), times(1000, 100)), want(5.0 / 20.0, 5.0 / 200.0));
        assert_eq!(overhead.of(&stat(4, 2), times(1300, 130), times(1200, 120)), want(1.0 / 10.0, 1.0 / 100.0));
        assert_eq!(overhead.of(&stat(4, 2), times(1300, 130), times(1300, 130)), want(0.0, 0.0), "no time has passed");
        assert_eq!(overhead.of(&stat(9, 2), times(1310, 131), times(1300, 130))[0], want(1.0, 0.5)[0], "never above 1");
        assert_eq!(overhead.of("7 (a", times(1, 1), times(1, 1)), []);
    }

    // spec: metrics-health.md
    #[test]
    #[cfg(target_os = "linux")]
    fn worker_thread_reads_its_own_cpu_times() {
        let now = CpuTimes::read().unwrap();
        let samples = Overhead::default().read(now, now);
        assert_eq!(samples.len(), 3);
        assert!(std::fs::read_to_string("/proc/thread-self/stat").is_ok());
    }
}
