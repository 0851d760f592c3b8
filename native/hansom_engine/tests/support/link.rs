//! Dials that end with a stream of bytes.

use hansom_engine::connect::{self, Reached};
use hansom_engine::transport::Link;
use hansom_engine::{Dial, Error, Http3Config};

pub(crate) async fn dial(target: &Dial) -> Result<Link, Error> {
    match connect::dial(target, &Http3Config::default(), async |quic| Ok(quic)).await? {
        Reached::Link(link) => Ok(link),
        Reached::Quic(quic) => panic!("{quic:?}"),
    }
}
