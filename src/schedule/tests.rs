//! Tests of the schedule.

use super::*;
use crate::config::Settings;
use crate::config::file::Source;
use time::macros::datetime;

const HOUR: Duration = Duration::from_secs(3600);

fn timetable(cron: &str, zone: &str) -> Timetable {
    let mut problems = Vec::new();
    let text = format!("schedule = \"{cron}\"\ntimezone = \"{zone}\"\n");
    let source = Source::parse("t".into(), text, &mut problems);
    let settings = Settings::check(&[source], &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    settings.schedule
}

fn every(cron: &str, zone: &str, offset: Duration) -> Recurrence {
    let timetable = timetable(cron, zone);
    Recurrence { timetable, offset }
}

/// Reads both clocks of a machine whose wall clock was never set.
fn at(now: Timestamp) -> ClockReading {
    let uptime = now.unix_timestamp();
    ClockReading { now, uptime }
}

/// Reads both clocks of a machine whose wall clock was set by `step`.
fn stepped(now: Timestamp, step: time::Duration) -> ClockReading {
    let uptime = (now - step).unix_timestamp();
    ClockReading { now, uptime }
}

fn schedule(cron: &str, zone: &str, now: Timestamp) -> Schedule {
    Schedule::new(every(cron, zone, Duration::ZERO), None, None, at(now))
}

#[test]
fn a_cycle_keeps_its_wall_clock_hour_in_spring() {
    // Dublin changes to summer time on 2027-03-28 at 01:00 UTC.
    let mut s = schedule("0 0 3 * * *", "Europe/Dublin", datetime!(2027-03-27 00:00 UTC));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-03-27 03:00 UTC)));
    assert_eq!(s.due(at(datetime!(2027-03-27 03:00:01 UTC))), Some(Job::Renewal));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-03-28 02:00 UTC)));
}

#[test]
fn a_cycle_keeps_its_wall_clock_hour_in_autumn() {
    // Dublin changes back on 2027-10-31 at 01:00 UTC.
    let mut s = schedule("0 0 3 * * *", "Europe/Dublin", datetime!(2027-10-30 00:00 UTC));
    assert_eq!(s.due(at(datetime!(2027-10-30 02:00 UTC))), Some(Job::Renewal));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-10-31 03:00 UTC)));
    assert_eq!(s.due(at(datetime!(2027-10-31 03:00 UTC))), Some(Job::Renewal));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-11-01 03:00 UTC)));
}

#[test]
fn a_cycle_in_a_skipped_or_repeated_hour_runs_once() {
    let mut s = schedule("0 30 1 * * *", "Europe/Dublin", datetime!(2027-03-28 00:00 UTC));
    let runs = |s: &mut Schedule, from: Timestamp| {
        let minutes = (0..12 * 60).map(|n| at(from + time::Duration::minutes(n)));
        minutes.filter(|minute| s.due(*minute).is_some()).count()
    };
    assert_eq!(runs(&mut s, datetime!(2027-03-28 00:00 UTC)), 1);
    let mut s = schedule("0 30 1 * * *", "Europe/Dublin", datetime!(2027-10-31 00:00 UTC));
    assert_eq!(runs(&mut s, datetime!(2027-10-31 00:00 UTC)), 1);
}

#[test]
fn cycles_that_were_slept_over_are_caught_up_once() {
    let mut s = schedule("0 17 3 * * *", "UTC", datetime!(2027-01-01 00:00 UTC));
    assert_eq!(s.due(at(datetime!(2027-01-04 12:00 UTC))), Some(Job::Renewal));
    assert_eq!(s.due(at(datetime!(2027-01-04 12:00:01 UTC))), None);
}

#[test]
fn a_step_back_does_not_silence_the_schedule() {
    let mut s = schedule("0 0 * * * *", "UTC", datetime!(2027-06-01 00:30 UTC));
    let step = datetime!(2027-01-01 00:30 UTC) - datetime!(2027-06-01 00:30 UTC);
    assert_eq!(s.due(stepped(datetime!(2027-01-01 00:30 UTC), step)), None);
    assert_eq!(s.next_cycle(), Some(datetime!(2027-01-01 01:00 UTC)));
    assert_eq!(
        s.due(stepped(datetime!(2027-01-01 01:00 UTC), step)),
        Some(Job::Renewal)
    );
}

#[test]
fn a_step_back_during_a_long_cycle_is_noticed() {
    let mut s = schedule("0 0 * * * *", "UTC", datetime!(2027-06-01 00:30 UTC));
    assert_eq!(s.due(at(datetime!(2027-06-01 01:00 UTC))), Some(Job::Renewal));
    // The cycle took 59 minutes; meanwhile the clock was set back by half an hour.
    s.follow_clock(stepped(datetime!(2027-06-01 01:29 UTC), time::Duration::minutes(-30)));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-06-01 02:00 UTC)));
    s.follow_clock(stepped(datetime!(2027-06-01 00:10 UTC), time::Duration::minutes(-110)));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-06-01 01:00 UTC)));
}

#[test]
fn a_step_back_does_not_delay_a_retry() {
    let now = datetime!(2027-06-01 12:00 UTC);
    let mut s = schedule("0 0 0 1 1 *", "UTC", now);
    s.retry_cycle(now, time::Duration::minutes(5));
    let back = time::Duration::hours(-3);
    s.follow_clock(stepped(now + back, back));
    assert_eq!(s.next(Job::Retry), Some(datetime!(2027-06-01 09:05 UTC)));
    assert_eq!(s.due(stepped(datetime!(2027-06-01 09:05 UTC), back)), Some(Job::Retry));
    assert_eq!(s.next(Job::Retry), None, "one run");
}

#[test]
fn a_step_back_moves_the_backup_to_the_new_time() {
    let now = datetime!(2027-06-01 12:00 UTC);
    let [renewal, backup] = ["0 0 0 1 1 *", "0 0 18 * * *"].map(|cron| every(cron, "UTC", Duration::ZERO));
    let mut s = Schedule::new(renewal, Some(backup), None, at(now));
    assert_eq!(s.next(Job::Backup), Some(datetime!(2027-06-01 18:00 UTC)));
    let back = -time::Duration::days(2);
    s.follow_clock(stepped(now + back, back));
    assert_eq!(s.next(Job::Backup), Some(datetime!(2027-05-30 18:00 UTC)));
    assert_eq!(s.due(stepped(datetime!(2027-05-30 18:00 UTC), back)), Some(Job::Backup));
    assert_eq!(s.next(Job::Backup), Some(datetime!(2027-05-31 18:00 UTC)));
}

#[test]
fn a_step_forward_makes_what_it_skipped_due_once() {
    let now = datetime!(2027-06-01 12:00 UTC);
    let mut s = schedule("0 17 3 * * *", "UTC", now);
    let ahead = time::Duration::days(12);
    let reading = stepped(now + ahead, ahead);
    assert_eq!(s.due(reading), Some(Job::Renewal));
    assert_eq!(s.due(reading), None);
    assert_eq!(s.next_cycle(), Some(datetime!(2027-06-14 03:17 UTC)));
}

#[test]
fn the_node_is_assessed_daily_even_if_the_schedule_is_yearly() {
    let mut s = schedule("0 0 0 1 1 *", "UTC", datetime!(2027-06-01 00:00 UTC));
    assert_eq!(s.due(at(datetime!(2027-06-01 23:59:59 UTC))), None);
    assert_eq!(s.due(at(datetime!(2027-06-02 00:00 UTC))), Some(Job::Assessment));
    assert_eq!(s.due(at(datetime!(2027-06-02 00:00:01 UTC))), None);
}

#[test]
fn a_clock_set_back_again_and_again_does_not_delay_assessments() {
    let now = datetime!(2027-06-01 00:00 UTC);
    for minutes in [60, 1] {
        let mut s = schedule("0 0 0 1 1 *", "UTC", now);
        let mut assessments = 0;
        for n in 1..=72 * 60 / minutes {
            let uptime = now.unix_timestamp() + n * minutes * 60;
            let job = s.due(ClockReading { now, uptime });
            assessments += usize::from(job == Some(Job::Assessment));
            assert!(s.next_assessment() <= now + time::Duration::DAY);
        }
        assert_eq!(assessments, 3, "every {minutes} minutes");
    }
}

#[test]
fn nodes_act_at_their_own_time_within_the_spread_and_keep_it() {
    let (daily, now) = (timetable("0 17 3 * * *", "UTC"), datetime!(2027-06-01 00:00 UTC));
    let of = |machine_id: &str, name: &str| offset(HOUR, &daily, NodeIdentity { machine_id, name }, now);
    let all: Vec<_> = (0..200).map(|n| of("0123456789abcdef", &format!("cp-{n}"))).collect();
    assert_eq!(of("0123456789abcdef", "cp-7"), all[7]);
    assert!(all.iter().all(|offset| *offset < HOUR));
    let halves = all.iter().filter(|offset| **offset < HOUR / 2).count();
    assert!((70..=130).contains(&halves), "{halves} of 200 in the first half hour");
    assert_ne!(all[1], of("fedcba", "cp-1"), "another machine");
    let (machine_id, name) = ("m", "n");
    let node = NodeIdentity { machine_id, name };
    assert_eq!(offset(Duration::ZERO, &daily, node, now), Duration::ZERO);
    let recurrence = Recurrence {
        timetable: daily,
        offset: HOUR / 2,
    };
    let mut s = Schedule::new(recurrence, None, None, at(now));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-06-01 03:47 UTC)));
    assert_eq!(s.due(at(datetime!(2027-06-01 03:17 UTC))), None);
    assert_eq!(s.due(at(datetime!(2027-06-01 03:47 UTC))), Some(Job::Renewal));
    assert_eq!(s.next_cycle(), Some(datetime!(2027-06-02 03:47 UTC)));
}

#[test]
fn a_spread_is_at_most_half_of_the_shortest_interval() {
    let now = datetime!(2027-06-01 00:00 UTC);
    let twice = timetable("0 0 9,10 * * *", "UTC");
    let of = |spread: Duration, timetable: &Timetable, name: &str| {
        let machine_id = "m";
        offset(spread, timetable, NodeIdentity { machine_id, name }, now)
    };
    let most = (0..500).map(|n| of(24 * HOUR, &twice, &format!("n{n}"))).max();
    assert!(most.is_some_and(|most| most < HOUR / 2 && most > HOUR / 3), "{most:?}");
    assert_eq!(of(HOUR, &timetable("*/2 * * * * *", "UTC"), "n"), Duration::ZERO);
}

#[test]
fn a_missed_cycle_runs_after_the_offset() {
    let next = |last, now| {
        let recurrence = every("0 17 3 * * *", "UTC", HOUR / 2);
        Schedule::new(recurrence, None, last, at(now)).next_cycle()
    };
    let now = datetime!(2027-06-05 12:00 UTC);
    assert_eq!(
        next(Some(datetime!(2027-06-01 03:48 UTC)), now),
        Some(datetime!(2027-06-05 12:30 UTC))
    );
    let regular = Some(datetime!(2027-06-06 03:47 UTC));
    let cases = [
        (Some(datetime!(2027-06-05 03:47 UTC)), "it was not missed"),
        (None, "there was none yet"),
        (Some(datetime!(2028-01-01 00:00 UTC)), "by a clock that ran ahead"),
    ];
    for (last, why) in cases {
        assert_eq!(next(last, now), regular, "{why}");
    }
    assert_eq!(
        next(Some(datetime!(2027-06-01 03:48 UTC)), datetime!(2027-06-05 03:30 UTC)),
        Some(datetime!(2027-06-05 03:47 UTC)),
        "the regular one is earlier"
    );
}
