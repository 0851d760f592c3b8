//! HTTP/2: against servers made of the same protocol library, and against peers of which the test
//! writes every frame.

#[path = "../support/ask.rs"]
mod ask;
#[path = "../support/host.rs"]
mod host;

mod exchange;
mod faults;
mod floods;
mod inline;
mod limits;
mod messages;
mod mixed;
mod negotiation;
mod peer;
mod places;
mod streams;
mod upload;
