//! The plainest server in Rust: std alone, one connection at a time, one request each. An ordinary wasip1 program
//! whose listening socket is descriptor 3.
//!
//!     wcluster run accept.wasm -n 4 --listen tcp://127.0.0.1:8000

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::wasi::io::FromRawFd;

const LISTENER: i32 = 3;

/// The longest request, body included.
const REQUEST_MAX: usize = 64 * 1024;

/// Where the head ends, and the body begins.
fn head_end(request: &[u8]) -> Option<usize> {
    request.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

/// The body's length: Content-Length, or 0. A chunked body is not understood and ends the connection.
fn body_len(head: &str) -> Option<usize> {
    let mut len = 0;
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            len = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
    }
    Some(len)
}

/// Reads one request; false when the client leaves before its end, or asks for too much.
fn read_request(stream: &mut TcpStream) -> io::Result<bool> {
    let mut request = Vec::new();
    let mut wanted = None;
    let mut piece = [0; 4096];
    while wanted.map_or(true, |n| request.len() < n) {
        let n = stream.read(&mut piece)?;
        request.extend_from_slice(&piece[..n]);
        if n == 0 || request.len() > REQUEST_MAX {
            return Ok(false);
        }
        if let (None, Some(end)) = (wanted, head_end(&request)) {
            match body_len(&String::from_utf8_lossy(&request[..end])) {
                Some(len) if len <= REQUEST_MAX => wanted = Some(end + len),
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}

fn serve(mut stream: TcpStream, worker: &str) -> io::Result<()> {
    if !read_request(&mut stream)? {
        return Ok(());
    }
    let body = format!("hello from worker {worker}\n");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Worker: {worker}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())
}

fn main() {
    let worker = std::env::var("WCLUSTER_WORKER_ID").unwrap_or_else(|_| "0".to_string());
    // SAFETY: nothing else in this program uses the descriptor, and the host opened it for us.
    let listener = unsafe { TcpListener::from_raw_fd(LISTENER) };
    for stream in listener.incoming() {
        match stream {
            // A client that leaves early is its own affair.
            Ok(stream) => drop(serve(stream, &worker)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(e) => {
                eprintln!("accept: {e}");
                std::process::exit(1);
            }
        }
    }
}
