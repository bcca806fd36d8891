//! Codecs of the wire protocols Confab speaks: bytes to frames and back.
//!
//! The crate owns the exact bytes of Engine.IO v4 ([`engineio`]), Socket.IO v5 ([`socketio`]), STOMP 1.0 to 1.2
//! ([`stomp`]), SockJS ([`sockjs`]) and of the WebSocket frames a server writes ([`websocket`]), and the rule that JSON
//! passing through stays byte for byte what it was ([`json`]). It must never know sockets, tasks, time or chat: whoever calls it brings the bytes, decides what a frame
//! means, and carries the answer out.
//!
//! Decoding borrows from the message and does not allocate, save where the format itself forces a copy (base64,
//! escapes in an event's name, attachments that arrive in later messages, STOMP's frames, which end where they like). Encoding appends to a caller's
//! [`bytes::BytesMut`]. Every limit is a parameter.
//!
//! A message from a WebSocket client travels like this:
//!
//! ```
//! use confab_gateway_protocol::{engineio, socketio::{self, Body}};
//!
//! let engineio::Packet::Message(text) = engineio::Packet::decode(r#"42/chat,7["sendMessage",{"content":"hi"}]"#)?
//! else { unreachable!() };
//! let packet = socketio::decode(text, 10)?;
//! assert_eq!(packet.namespace, "/chat");
//! let Body::Event(event) = packet.body else { unreachable!() };
//! assert_eq!((&*event.name, event.ack_id), ("sendMessage", Some(7)));
//! assert_eq!(event.args.first().map(|json| json.as_str()), Some(r#"{"content":"hi"}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! And one to many of them is encoded once:
//!
//! ```
//! use confab_gateway_protocol::{engineio, json::Json, socketio, websocket};
//!
//! let message = Json::check(r#"{"content":"hi"}"#)?;
//! let frame = websocket::text_frame(|out| {
//!     engineio::begin_message(out);
//!     socketio::event(out, "/chat", None, "newMessage").json(message).finish();
//! });
//! assert_eq!(frame.payload(), r#"42/chat,["newMessage",{"content":"hi"}]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! STOMP is a stream of bytes in which WebSocket messages mean nothing; what is said to many subscriptions is encoded
//! once but for its first lines, and SockJS puts it into a string:
//!
//! ```
//! use bytes::BytesMut;
//! use confab_gateway_protocol::{sockjs, stomp::{self, Command, Decoder, Item, Limits, Version}};
//!
//! let mut decoder = Decoder::new(Limits { max_frame: 65_536, max_headers: 64, max_header: 4096 });
//! decoder.set_version(Version::V1_2);
//! decoder.push(b"\nSEND\ndestination:/app/chat.send");
//! assert_eq!(decoder.next()?, Some(Item::HeartBeat));
//! assert_eq!(decoder.next()?, None);
//! decoder.push(b"Message\n\n{\"content\":\"hi\"}\0");
//! let Some(Item::Frame(frame)) = decoder.next()? else { unreachable!() };
//! assert_eq!((frame.command, frame.header("destination")), (Command::Send, Some("/app/chat.sendMessage")));
//!
//! let mut rest = BytesMut::new();
//! stomp::message_rest(&mut rest, "7", "application/json", &[], |out| out.extend_from_slice(&frame.body));
//! let mut piece = BytesMut::new();
//! stomp::message_head(&mut piece, Version::V1_2, "sub-0", "/topic/public");
//! piece.extend_from_slice(&rest);
//! let mut framed = BytesMut::new();
//! sockjs::message(&mut framed, &piece);
//! assert!(framed.starts_with(br#"a["MESSAGE\nsubscription:sub-0\ndestination:/topic/public\nmessage-id:7\n"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod engineio;
pub mod json;
pub mod socketio;
pub mod sockjs;
pub mod stomp;
pub mod websocket;
