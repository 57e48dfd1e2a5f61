//! The clock. Only here the program asks what time it is.

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::Host;
use crate::model::Timestamp;

impl Host {
    /// Now, UTC.
    pub fn now(&self) -> Timestamp {
        Timestamp::now_utc()
    }

    /// Now with milliseconds, as RFC 3339: different at every restart.
    pub fn now_exact(&self) -> String {
        let now = self.now();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            now.millisecond()
        )
    }

    /// Seconds since boot, sleep included. No step of the wall clock moves it.
    pub fn uptime(&self) -> i64 {
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec())
    }

    /// The same, exact.
    pub fn since_boot(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
    }

    /// A value that is different after every boot of this machine.
    pub fn boot_id(&self) -> String {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// The id of this machine (machine-id(5)); empty where there is none. Clones of one image may share it.
    pub fn machine_id(&self) -> String {
        let file = self.read(Path::new("/etc/machine-id")).ok();
        file.and_then(|file| Some(file.bytes.text().ok()?.trim().to_owned()))
            .unwrap_or_default()
    }

    /// Whether systemd says that the clock is synchronised; none where it does not say.
    ///
    /// timedatectl asks over D-Bus; adjtimex(2) would need a hole in the service's sandbox.
    pub fn synchronised(&self) -> Option<bool> {
        let arguments = ["show", "-p", "NTPSynchronized", "--value"];
        let answer = self.output(Path::new("/usr/bin/timedatectl"), &arguments, Duration::from_secs(5))?;
        match answer.trim() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}
