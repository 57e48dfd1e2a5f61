//! A server that answers like an etcd and sends the snapshot that it is given: the faults that a
//! real one never shows.
//!
//! HTTP/2 (RFC 9113) and gRPC as far as three questions need them, over a plain connection. It does
//! not read what is asked: the questions come in a known order on streams 1, 3 and 5 (Status,
//! MemberList, Snapshot).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Serves `snapshot` to everybody, for as long as the test runs, with a pause before each 8 KiB.
/// Gives the port on 127.0.0.1.
pub fn serve(snapshot: Vec<u8>, pause: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let snapshot = snapshot.clone();
            // A client that disconnects, say after probing the port, ends
            // its thread.
            thread::spawn(move || answer(client, &snapshot, pause));
        }
    });
    port
}

fn answer(mut client: TcpStream, snapshot: &[u8], pause: Duration) -> std::io::Result<()> {
    let mut preface = [0; 24];
    client.read_exact(&mut preface)?;
    frame(&mut client, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        client.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => frame(&mut client, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => frame(&mut client, PING, ACK, 0, &payload)?,
            // The question is whole.
            DATA if flags & END_STREAM != 0 => match stream {
                1 => reply(&mut client, stream, &[status(snapshot.len())], Duration::ZERO)?,
                3 => reply(&mut client, stream, &[Vec::new()], Duration::ZERO)?,
                _ => {
                    let pieces: Vec<_> = snapshot.chunks(8192).map(|piece| field(3, piece)).collect();
                    reply(&mut client, stream, &pieces, pause)?;
                }
            },
            _ => {}
        }
    }
}

fn reply(client: &mut TcpStream, stream: u32, messages: &[Vec<u8>], pause: Duration) -> std::io::Result<()> {
    // HPACK (RFC 7541): `:status: 200` is entry 8 of the static table.
    let mut head = vec![0x88];
    head.extend(literal("content-type", "application/grpc"));
    frame(client, HEADERS, END_HEADERS, stream, &head)?;
    for message in messages {
        thread::sleep(pause);
        let mut data = vec![0];
        data.extend(u32::try_from(message.len()).expect("a short message").to_be_bytes());
        data.extend(message);
        frame(client, DATA, 0, stream, &data)?;
    }
    frame(
        client,
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &literal("grpc-status", "0"),
    )
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        out.push(u8::try_from(text.len()).expect("a short text"));
        out.extend(text.as_bytes());
    }
    out
}

fn frame(client: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    client.write_all(&out)
}

/// etcd's `StatusResponse`: header (cluster, member, revision), version, size of the database.
fn status(size: usize) -> Vec<u8> {
    let header = [number(1, 7), number(2, 8), number(3, 9)].concat();
    let size = u64::try_from(size).expect("a size");
    [field(1, &header), field(2, b"3.4.23"), number(3, size)].concat()
}

fn number(tag: u8, value: u64) -> Vec<u8> {
    let mut out = vec![tag << 3];
    out.extend(varint(value));
    out
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
