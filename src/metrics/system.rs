//! The host's processors and memory, and this process's share of the former (agent-spec 10.2).

use super::{Named, gauge, kernel, kilobytes, process};

/// Ticks since the host's start. All are of one unit, and over all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTimes {
    total: u64,
    idle: u64,
    /// Of this process.
    user: u64,
    system: u64,
}

impl CpuTimes {
    /// None where the system does not tell.
    pub(super) fn read() -> Option<Self> {
        Self::of(&kernel("/proc/stat")?, &kernel("/proc/self/stat")?)
    }

    pub(super) fn of(host: &str, process: &str) -> Option<Self> {
        let (user, system) = process::cpu(process)?;
        // user nice system idle iowait irq softirq steal; what guests take is within the first two
        let line = host.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
        Some(Self { total: ticks.iter().sum(), idle, user, system })
    }

    /// Ticks of all cores, and those that this process had of them.
    pub(super) fn ticks_since(self, before: Self) -> (u64, u64) {
        let process = (self.user + self.system).saturating_sub(before.user + before.system);
        (self.total.saturating_sub(before.total), process)
    }

    /// Shares from 0 to 1.
    pub(super) fn since(self, before: Self) -> Vec<Named> {
        let total = self.total.saturating_sub(before.total);
        let share = |ticks: u64| if total == 0 { 0.0 } else { (ticks as f64 / total as f64).min(1.0) };
        let busy = total.saturating_sub(self.idle.saturating_sub(before.idle));
        let user = self.user.saturating_sub(before.user);
        let system = self.system.saturating_sub(before.system);
        vec![
            gauge("system.cpu.total.norm.pct", share(busy)),
            gauge("system.process.cpu.total.norm.pct", share(user + system)),
            gauge("system.process.cpu.user.norm.pct", share(user)),
            gauge("system.process.cpu.system.norm.pct", share(system)),
        ]
    }
}

pub(super) fn memory() -> Vec<Named> {
    kernel("/proc/meminfo").map_or_else(Vec::new, |text| of_meminfo(&text))
}

fn of_meminfo(text: &str) -> Vec<Named> {
    let free = || {
        let parts = ["MemFree", "Buffers", "Cached"].map(|name| kilobytes(text, name));
        parts.into_iter().sum::<Option<f64>>()
    };
    let total = kilobytes(text, "MemTotal").map(|total| gauge("system.memory.total", total));
    // kernels before 3.14 do not say what is available
    let available = kilobytes(text, "MemAvailable").or_else(free);
    let available = available.map(|free| gauge("system.memory.actual.free", free));
    total.into_iter().chain(available).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;

    fn value(samples: &[Named], name: &str) -> f64 {
        match samples.iter().find(|(known, _)| known == name) {
            Some((_, Sample::Gauge(value))) => *value,
            other => panic!("{name}: {other:?} in {samples:?}"),
        }
    }

    /// As the kernel writes it, of a program whose name tries hard.
    fn stat(user: u64, system: u64) -> String {
        format!("7 (a) 9 (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 {user} {system} 0 0 20 0 1 0 100 9 8 0")
    }

    // spec: metrics.md
    #[test]
    fn system_cpu_share_is_since_the_last_report() {
        let before = CpuTimes::of("cpu  100 0 100 700 100 0 0 0 50 50\ncpu0 1 2\n", &stat(10, 10)).unwrap();
        let now = CpuTimes::of("cpu  140 0 120 820 110 0 10 0 90 50\ncpu0 1 2\n", &stat(30, 20)).unwrap();
        let samples = now.since(before);
        // 200 ticks, 130 of them idle; what guests took is not counted twice
        assert_eq!(value(&samples, "system.cpu.total.norm.pct"), 70.0 / 200.0);
        assert_eq!(value(&samples, "system.process.cpu.total.norm.pct"), 30.0 / 200.0);
        assert_eq!(value(&samples, "system.process.cpu.user.norm.pct"), 20.0 / 200.0);
        assert_eq!(value(&samples, "system.process.cpu.system.norm.pct"), 10.0 / 200.0);
        assert_eq!(value(&now.since(now), "system.cpu.total.norm.pct"), 0.0, "no time has passed");
        assert_eq!(value(&before.since(now), "system.process.cpu.total.norm.pct"), 0.0, "a clock that goes back");
    }

    // spec: metrics.md
    #[test]
    fn system_memory_is_in_bytes() {
        let new = "MemTotal:       24602136 kB\nMemFree:         1000 kB\nMemAvailable:    20 kB\nCached: 7 kB\n";
        assert_eq!(value(&of_meminfo(new), "system.memory.total"), 24_602_136.0 * 1024.0);
        assert_eq!(value(&of_meminfo(new), "system.memory.actual.free"), 20.0 * 1024.0);
        let old = "MemTotal: 9 kB\nMemFree: 1 kB\nBuffers: 2 kB\nCached: 4 kB\nSwapCached: 8 kB\n";
        assert_eq!(value(&of_meminfo(old), "system.memory.actual.free"), 7.0 * 1024.0);
        assert_eq!(of_meminfo("nothing of the kind"), []);
    }
}
