//! Time zones, from the IANA database that is built in: a node need not have one.
//!
//! jiff keeps the database as the compressed files of RFC 9636; chrono-tz keeps the same as tables, which made a quarter of the program.

use std::str::FromStr;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

/// A zone with all its changes of daylight saving time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Its IANA name, `Europe/Berlin`.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl FromStr for Zone {
    type Err = jiff::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        TimeZoneDatabase::bundled().get(name).map(Self)
    }
}

/// What a zone is off UTC at one time.
#[derive(Debug, Clone)]
pub struct ZoneOffset(Zone, FixedOffset);

impl chrono::Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.1
    }
}

impl Zone {
    /// An offset is less than 26 hours in both libraries.
    fn at(&self, offset: Offset) -> Option<ZoneOffset> {
        Some(ZoneOffset(self.clone(), FixedOffset::east_opt(offset.seconds())?))
    }
}

impl chrono::TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.0.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let civil = Offset::UTC.to_datetime(timestamp(local.and_utc().timestamp()));
        match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                self.at(offset).map_or(MappedLocalTime::None, MappedLocalTime::Single)
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => match (self.at(before), self.at(after)) {
                (Some(before), Some(after)) => MappedLocalTime::Ambiguous(before, after),
                _ => MappedLocalTime::None,
            },
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        let offset = self.0.to_offset(timestamp(utc.and_utc().timestamp()));
        self.at(offset)
            .unwrap_or_else(|| ZoneOffset(self.clone(), chrono::Offset::fix(&chrono::Utc)))
    }
}

/// jiff's years end with 9999; no clock is there.
fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
