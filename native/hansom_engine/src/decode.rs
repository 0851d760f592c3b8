//! Content codings (RFC 9110, section 8.4), undone as a stream.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::config::Limits;
use crate::error::{Coding, Error};

/// Output below which the growth of a body is not looked at, in bytes.
const RATIO_FROM: u64 = 1 << 20;
/// The largest window of the gzip format, as a power of two.
const GZIP_WINDOW_LOG: u8 = 15;
/// The largest zstd window a recipient has to support, 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Undoes one content coding.
///
/// * gzip: any number of members, and nothing else, as `zlib:gunzip/1` of OTP;
/// * deflate: the zlib format; bytes after its end are ignored, as `zlib:inflate/2` does;
/// * br: one stream with a window of at most 16 MiB, and nothing after it;
/// * zstd: any number of frames, each with a window of at most 8 MiB.
///
/// It takes the decoder's window only, and writes into the caller's memory. How much altogether is
/// bound by [`Limits::decompressed_bytes`] and [`Limits::decompress_ratio`].
pub struct Decompressor {
    coding: Coding,
    decoder: Decoder,
    max_output: u64,
    max_ratio: u64,
    input: u64,
    output: u64,
    /// The input seen so far may be all there is.
    complete: bool,
    /// The last call filled its output, so that there may be more.
    has_more: bool,
    failed: Option<&'static str>,
}

enum Decoder {
    Gzip(Decompress),
    Deflate(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(ZstdDecoder<'static>),
    /// No memory for a decoder.
    Refused,
}

/// What a call of [`Decompressor::decode`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that were read.
    pub read: usize,
    /// Bytes that were written.
    pub written: usize,
}

/// What one step of a decoder did.
struct Step {
    read: usize,
    written: usize,
    /// A gzip member, stream or frame ended here.
    ended: bool,
}

impl Decompressor {
    /// The coding a `Content-Encoding` value names, in any case: `gzip`, `x-gzip`, `deflate`,
    /// `br` or `zstd`. `None` for all others, lists of codings included.
    #[must_use]
    pub fn coding(content_encoding: &[u8]) -> Option<Coding> {
        const NAMES: [(&[u8], Coding); 5] = [
            (b"gzip", Coding::Gzip),
            (b"x-gzip", Coding::Gzip),
            (b"deflate", Coding::Deflate),
            (b"br", Coding::Brotli),
            (b"zstd", Coding::Zstd),
        ];
        NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(content_encoding))
            .map(|(_, coding)| *coding)
    }

    /// A decompressor at the first byte of a body.
    #[must_use]
    pub fn new(coding: Coding, limits: &Limits) -> Self {
        let decoder = match coding {
            Coding::Gzip => Decoder::Gzip(Decompress::new_gzip(GZIP_WINDOW_LOG)),
            Coding::Deflate => Decoder::Deflate(Decompress::new(true)),
            Coding::Brotli => Decoder::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => zstd_decoder().map_or(Decoder::Refused, Decoder::Zstd),
        };
        Self {
            coding,
            decoder,
            max_output: limits.decompressed_bytes,
            max_ratio: limits.decompress_ratio,
            input: 0,
            output: 0,
            complete: false,
            has_more: false,
            failed: None,
        }
    }

    /// Writes to `output`, which is not empty, what `input`, the next bytes of the body, stands
    /// for, as far as there is room. To be called again with the input that was not read, also if
    /// that is none and there [is more](Self::has_more).
    ///
    /// # Errors
    /// [`Error::Decompress`] with the reason `data_error` for malformed input, `too_large` when a
    /// limit is exceeded, `mem_error` when memory is refused. Every later call fails the same.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Error> {
        let mut progress = Progress::default();
        if self.failed.is_none() {
            match self.step(input, output) {
                Ok(made) => progress = made,
                Err(reason) => self.failed = Some(reason),
            }
        }
        self.result().map(|()| progress)
    }

    /// Whether there may be more output without more input.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Bytes of the body read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.input
    }

    /// Checks that the body may end here.
    ///
    /// # Errors
    /// [`Error::Decompress`] with the reason `data_error`, which is also what `zlib` of OTP says
    /// of input cut short or empty; or that of the call to [`decode`](Self::decode) that failed.
    pub fn finish(&mut self) -> Result<(), Error> {
        if self.failed.is_none() && !self.complete {
            self.failed = Some("data_error");
        }
        self.result()
    }

    fn result(&self) -> Result<(), Error> {
        let coding = self.coding;
        self.failed.map_or(Ok(()), |reason| Err(Error::Decompress { coding, reason }))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, &'static str> {
        self.has_more = false;
        if self.complete && input.is_empty() {
            return Ok(Progress::default());
        }
        let Step { read, written, ended } = self.decoder.step(input, output, self.complete)?;
        self.input += read as u64;
        self.output += written as u64;
        if self.output > self.max_output || self.grows_too_much() {
            return Err("too_large");
        }
        let idle = read == 0 && written == 0;
        let was_complete = self.complete;
        self.complete = ended || (idle && was_complete);
        if idle && self.complete == was_complete && !input.is_empty() {
            return Err("data_error");
        }
        self.has_more = written == output.len();
        Ok(Progress { read, written })
    }

    fn grows_too_much(&self) -> bool {
        self.output > RATIO_FROM && self.output > self.input.saturating_mul(self.max_ratio)
    }
}

impl Decoder {
    /// Decodes some of `input` into `output`. `complete` says that the input before ended with a
    /// member, stream or frame.
    fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        complete: bool,
    ) -> Result<Step, &'static str> {
        match self {
            Self::Gzip(inflate) => {
                if complete {
                    inflate.reset(true);
                }
                inflate_step(inflate, input, output)
            }
            Self::Deflate(_) if complete => Ok(Step { read: input.len(), written: 0, ended: true }),
            Self::Deflate(inflate) => inflate_step(inflate, input, output),
            Self::Brotli(_) if complete => Err("data_error"),
            Self::Brotli(state) => brotli_step(state, input, output),
            Self::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, output).map_err(|_| "data_error")?;
                let (read, written) = (status.bytes_read, status.bytes_written);
                Ok(Step { read, written, ended: status.remaining == 0 })
            }
            Self::Refused => Err("mem_error"),
        }
    }
}

fn zstd_decoder() -> Option<ZstdDecoder<'static>> {
    let mut decoder = ZstdDecoder::new().ok()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
    Some(decoder)
}

fn inflate_step(
    inflate: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, &'static str> {
    let (input_before, output_before) = (inflate.total_in(), inflate.total_out());
    let status =
        inflate.decompress(input, output, FlushDecompress::None).map_err(|_| "data_error")?;
    Ok(Step {
        read: moved(input_before, inflate.total_in()),
        written: moved(output_before, inflate.total_out()),
        ended: status == Status::StreamEnd,
    })
}

fn brotli_step(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, &'static str> {
    let (mut read, mut written, mut total) = (0, 0, 0);
    let result = BrotliDecompressStream(
        &mut input.len(),
        &mut read,
        input,
        &mut output.len(),
        &mut written,
        output,
        &mut total,
        state,
    );
    match result {
        BrotliResult::ResultFailure => Err("data_error"),
        result => Ok(Step { read, written, ended: matches!(result, BrotliResult::ResultSuccess) }),
    }
}

/// The distance between two totals, which a single step moved by at most a buffer's length.
fn moved(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
