//! The pool as a scheduler, without its lock (property tests) and with it (threads in every order).

#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

mod accounts;
mod chaos;
mod choice;
mod closed;
mod honest;
mod locks;
mod queue;
mod threads;
mod world;
