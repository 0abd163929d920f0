//! Rates that are called quotas, and codes inside a 200: what each layer does about them.

mod layers;
mod successes;
