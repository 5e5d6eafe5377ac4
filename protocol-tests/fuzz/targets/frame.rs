//! One piece of input to the parser of the binary protocol. Whatever it is, it is a request within the limits, a refusal, or
//! the beginning of one; and what the answer echoes is what was sent.

use memhold::protocol::binary::{Access, BODY_MAX, Frame, HEADER_BYTES, Parsed, parse};
use memhold::protocol::limits::KEY_MAX;
use memhold::protocol::request::{Auth, Request};
use memhold::protocol::{Command, Spelling};

/// The first byte chooses who asks; the rest is the input.
pub fn run(bytes: &[u8]) {
    let Some((&choice, input)) = bytes.split_first() else { return };
    let access = Access { sasl: choice & 1 != 0, locked: choice & 3 == 3 };
    let Parsed { frame, head } = parse(input, access);
    assert!(head <= input.len());
    match frame {
        Frame::NeedMore => assert_eq!(head, 0),
        Frame::Close => assert_ne!(input[0], 0x80),
        Frame::Read(read) => {
            assert!(!access.locked && (1..=KEY_MAX).contains(&read.key.len()));
            assert_eq!((read.opcode, &read.opaque[..]), (input[1], &input[12..16]));
        }
        Frame::Command(Command { request, spelling }) => {
            let Spelling::Binary { opcode, opaque, .. } = spelling else { panic!("{spelling:?}") };
            assert_eq!((opcode, &opaque[..]), (input[1], &input[12..16]));
            assert!(!access.locked || opcode == 0x0b, "{request:?}");
            assert!(request.key().bytes().len() <= KEY_MAX && head >= HEADER_BYTES);
            if let Request::Store(store) = &request {
                assert!(store.value_len <= BODY_MAX, "{request:?}");
            }
        }
        Frame::Auth(auth, _) => {
            assert!(access.sasl);
            if let Auth::Start { mechanism, data } = auth {
                assert!(mechanism.len() + data.len() + HEADER_BYTES <= head);
            }
        }
        Frame::Refused(refused) => {
            assert_eq!((refused.opcode, &refused.opaque[..]), (input[1], &input[12..16]));
            assert!(refused.close || refused.swallow <= BODY_MAX);
        }
    }
}
