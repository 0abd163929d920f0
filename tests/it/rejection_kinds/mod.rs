//! Rate limits that are called quotas, and error codes inside a 200: what each layer does.

mod layers;
mod successes;
