//! Each module contains one mistake. Its first line is the text that the compiler must print.
//!
//! Without `--cfg mistakes` the crate is empty, so that the workspace builds.

#![cfg(mistakes)]

mod body_of_bytes;
mod client_of_another_reqwest;
mod client_without_adapter;
mod delays_from_attempts;
mod delays_from_closure_to_duration;
mod delays_of_one_duration;
mod error_of_another_type;
mod error_that_holds_no_error_of_reqwest;
mod error_without_error;
mod inspected_body_not_unpin;
mod method_call;
mod method_call_on_inspect;
mod method_call_on_reqwest_service;
mod response_body_without_default;
mod service_not_clone;
