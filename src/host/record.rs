//! JSON records in the state directory.

use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Host;
use super::files::can_be_read_back;
use super::write::beside;
use crate::model::{Failure, ReadError};

/// A file in the state directory that holds a `T` as JSON.
#[derive(Debug)]
pub struct Record<T> {
    name: &'static str,
    content: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// Returns the record with this file name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            content: PhantomData,
        }
    }

    /// Returns the path of the file.
    pub fn path(&self, host: &Host) -> PathBuf {
        host.state(self.name)
    }

    /// Returns true if the file exists.
    pub fn exists(&self, host: &Host) -> bool {
        host.exists(&self.path(host))
    }

    /// Reads the record. `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// Returns the reason that the file cannot be read or does not parse.
    pub fn read(&self, host: &Host) -> Result<Option<T>, String> {
        match host.read_own(&self.path(host)) {
            Ok(file) => serde_json::from_slice(&file.bytes).map(Some).map_err(|e| e.to_string()),
            Err(ReadError::Missing) => Ok(None),
            Err(ReadError::Because(reason)) => Err(reason),
        }
    }

    /// Replaces the record, durably and in one step.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written, or would be too large to be read back.
    pub fn write(&self, host: &Host, value: &T) -> Result<(), Failure> {
        let json = serde_json::to_vec_pretty(value)
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", self.path(host).display())))?;
        can_be_read_back(&json, self.name)?;
        host.write_state(self.name, &json)
    }

    /// Removes the file, durably.
    ///
    /// # Errors
    ///
    /// Fails if it is there and cannot be removed.
    pub fn remove(&self, host: &Host) -> Result<(), Failure> {
        host.remove_state(self.name)
    }

    /// Removes the temporary file of an interrupted write.
    ///
    /// # Errors
    ///
    /// Fails if it is there and cannot be removed.
    pub fn clean(&self, host: &Host) -> Result<(), Failure> {
        host.unlink(&beside(&self.path(host), "new"))
    }
}
