/* http.h — an incremental HTTP/1.1 request parser that keeps no bytes.
 *
 * Feed it what came, split anywhere; it answers at the end of each request and says what framing and
 * connection handling RFC 9112 asks for. It allocates nothing, reads nothing twice, and needs no buffer
 * between calls: 48 bytes per connection are its whole memory. It knows nothing of sockets or of wcluster.
 *
 * Strict where leniency is how requests are smuggled: lines end in CRLF alone (section 2.2 allows, but does
 * not ask for, a bare LF), one space between the parts of the request line, no folded fields, no space
 * before the colon, Content-Length and Transfer-Encoding never together. Empty lines before a request are
 * skipped, as section 2.2 asks.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Request line, fields and trailer fields together; past it the answer is 431, or 414 inside the target. */
#define HTTP_HEAD_MAX 8192

/* A chunk's size line with its extensions. Their number is unbounded, so the head's limit cannot count them. */
#define HTTP_CHUNK_LINE_MAX 256

/* No request that leaves its connection open is shorter: "G / HTTP/1.1\r\nHost:\r\n\r\n". */
#define HTTP_REQUEST_MIN 23

/* The longest word that means something to the parser is "transfer-encoding"; longer ones are cut and match none. */
#define HTTP_WORD_MAX 22

typedef enum {
	HTTP_MORE,     /* all bytes are used and the request goes on */
	HTTP_CONTINUE, /* the head is complete and the client waits for 100 Continue; then feed on */
	HTTP_REQUEST,  /* a request is complete; read the results, then http_reset */
	HTTP_BROKEN,   /* answer with status and close: where the next request begins is unknown */
} http_event;

typedef struct {
	/* Results. */
	uint16_t status; /* with HTTP_BROKEN: 400, 414, 417, 431, 501 or 505 */
	uint8_t minor;   /* the version is HTTP/1.minor */
	bool head;       /* the method is HEAD: answer without a body */
	bool keep_alive; /* the connection may carry another request */

	/* The parser's own. */
	uint8_t state;
	uint8_t field;      /* which field's value is being read */
	bool gap;           /* white space was seen after the word */
	uint8_t word_len;   /* HTTP_WORD_MAX + 1 when cut */
	uint16_t facts;     /* what the head has said so far */
	uint16_t head_size; /* bytes counted against HTTP_HEAD_MAX */
	uint16_t line_size; /* bytes counted against HTTP_CHUNK_LINE_MAX */
	uint64_t left;      /* of the body or the chunk */
	char word[HTTP_WORD_MAX + 2];
} http_parser;

void http_reset(http_parser *p);

/* Reads at most one request; *used bytes of data are done with, all of them unless the event ends a step. */
http_event http_feed(http_parser *p, const uint8_t *data, size_t len, size_t *used);

/* No byte of a request has come since http_reset. */
bool http_idle(const http_parser *p);

#endif
