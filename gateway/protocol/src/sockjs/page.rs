//! The documents an endpoint has.

use bytes::{BufMut, Bytes, BytesMut};

use crate::json::{write_number, write_string};

/// What an endpoint says to whoever looks whether it is there.
pub const GREETING: &str = "Welcome to SockJS!\n";

/// What clients ask for before all else, as JSON.
///
/// `base_url` sends them to another address for their sessions. `entropy` is to be drawn anew each time: some clients have no
/// good source of their own.
pub fn info(websocket: bool, base_url: Option<&str>, entropy: u32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"{\"websocket\":");
    out.put_slice(if websocket { b"true" } else { b"false" });
    out.put_slice(b",\"origins\":[\"*:*\"],\"cookie_needed\":false,\"entropy\":");
    write_number(&mut out, entropy.into());
    if let Some(base_url) = base_url {
        out.put_slice(b",\"base_url\":");
        write_string(&mut out, base_url);
    }
    out.put_u8(b'}');
    out.freeze()
}

/// The page for browsers that reach another origin only through a frame of that origin's. It runs the client's
/// library from `script_url`, with the rights of this origin: so there should be no such page unless somebody has said
/// where the library is.
pub fn iframe(script_url: &str) -> Bytes {
    const BEFORE: &str = concat!(
        "<!DOCTYPE html>\n<html>\n<head>\n",
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n",
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n",
        "  <script>\n    document.domain = document.domain;\n",
        "    _sockjs_onload = function(){SockJS.bootstrap_iframe();};\n  </script>\n",
        "  <script src=\"",
    );
    const AFTER: &str = concat!(
        "\"></script>\n</head>\n<body>\n  <h2>Don't panic!</h2>\n",
        "  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n</body>\n</html>",
    );
    let mut out = BytesMut::with_capacity(BEFORE.len() + script_url.len() + AFTER.len());
    out.put_slice(BEFORE.as_bytes());
    for character in script_url.chars() {
        match character {
            '&' => out.put_slice(b"&amp;"),
            '"' => out.put_slice(b"&quot;"),
            '<' => out.put_slice(b"&lt;"),
            '>' => out.put_slice(b"&gt;"),
            plain => out.put_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put_slice(AFTER.as_bytes());
    out.freeze()
}
