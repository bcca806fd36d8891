//! An address that names a session is made of its names again.

#![no_main]

use confab_gateway_protocol::sockjs::Route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let route = Route::parse(path);
    let bare = path.strip_suffix('/').unwrap_or(path);
    if !path.ends_with('/') {
        let with_slash = format!("{path}/");
        assert_eq!(
            Route::parse(&with_slash),
            route,
            "a slash makes no difference"
        );
    }
    match route {
        None => {}
        Some(Route::Greeting) => assert_eq!(bare, ""),
        Some(Route::Info) => assert_eq!(bare, "/info"),
        Some(Route::RawWebSocket) => assert_eq!(bare, "/websocket"),
        Some(Route::Iframe) => assert!(bare.starts_with("/iframe") && bare.ends_with(".html")),
        Some(Route::Session {
            server,
            session,
            transport,
        }) => {
            assert!(!server.is_empty() && !session.is_empty());
            assert!(!server.contains(['/', '.']) && !session.contains(['/', '.']));
            assert_eq!(bare, format!("/{server}/{session}/{}", transport.as_str()));
        }
    }
});
