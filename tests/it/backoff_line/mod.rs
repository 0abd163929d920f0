//! BackoffLayer alone: the calls that share a limit wait in line, on a paused clock.

mod herds;

use std::{future::Future, io, time::Duration};

use futures::future::join_all;
use http::{Request, Response};
use tower::{Layer as _, Service, ServiceExt};
use tower_429::BackoffLayer;

use crate::script::*;
