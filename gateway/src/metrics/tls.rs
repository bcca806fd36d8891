//! What is counted of TLS at the public listener.

use prometheus::{IntCounterVec, IntGauge};

/// Why TLS handshakes come to nothing.
const HANDSHAKES: [&str; 6] = [
    "client_certificate",
    "incompatible",
    "left",
    "malformed",
    "refused_by_client",
    "timeout",
];

confab_shared::metrics! {
    /// What is counted of TLS at the public listener.
    pub struct TlsMetrics, "confab_gateway_tls_" {
        /// TLS handshakes of clients that came to nothing, by reason; left: without a word, as those do that see whether the port is open.
        handshake_errors_total: IntCounterVec, by ["reason"];
        /// When the certificate that clients are shown is over, or the first of those that come with it, in seconds since 1970; 0 where there is none.
        certificate_expiry_timestamp_seconds: IntGauge;
        /// Whether the files of the certificate hold something that cannot be used, so that clients are shown what was there before: 1 or 0.
        certificate_refused: IntGauge;
    }
}

impl TlsMetrics {
    /// Has all reasons shown before anything comes to nothing.
    pub(super) fn declare(&self) {
        super::show(&self.handshake_errors_total, &HANDSHAKES);
    }
}
