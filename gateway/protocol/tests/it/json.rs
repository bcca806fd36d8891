//! JSON that is carried: the splitting of arrays, and strings.

use bytes::BytesMut;
use confab_gateway_protocol::json::{Json, write_string};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategies::json_text;

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn json_is_kept(elements in vec(json_text(), 0..6)) {
        let array = format!(" [ {} ]\n", elements.join(" , "));
        let args = Json::check(&array).unwrap().elements().unwrap();
        let split: Vec<_> = args.iter().map(Json::as_str).collect();
        prop_assert_eq!(&split, &elements);
        prop_assert_eq!(args.as_str(), elements.join(" , "));
        prop_assert_eq!(args.first().map(Json::as_str), elements.first().map(String::as_str));
        prop_assert_eq!(args.is_empty(), elements.is_empty());
    }

    #[test]
    fn strings_are_json(text: String) {
        let mut out = BytesMut::new();
        write_string(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
