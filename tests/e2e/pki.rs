//! The node's credentials: what is in the files.
