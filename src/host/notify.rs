//! Messages to systemd (sd_notify(3)). Without systemd they do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Reports that the service is up.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Reports that the service ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Reports the current action, for `systemctl status`. A line end would begin another variable.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&text.replace('\n', " "))]);
}

/// Reports that a new configuration is being read, until [`ready`]. `MONOTONIC_USEC` belongs to it
/// for `Type=notify-reload` (systemd 253), and older versions ignore it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Asks systemd for this much more time to start or end.
pub fn extend(by: Duration) {
    send(&[NotifyState::ExtendTimeoutUsec(
        u32::try_from(by.as_micros()).unwrap_or(u32::MAX),
    )]);
}

/// Reports that the process is alive.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

fn send(state: &[NotifyState<'_>]) {
    // A lost message must not stop the renewals. systemd acts by itself if READY or WATCHDOG stay
    // away.
    let _ = sd_notify::notify(state);
}
