#include "http.h"

#include <string.h>

#include "chars.h"

/* The states, in the order in which a request passes through them. The ranges matter: up to HEAD_LF bytes
 * count against HTTP_HEAD_MAX. Trailer fields pass through FIELD_START … HEAD_LF a second time. */
enum {
	START, /* before the request: empty lines are skipped */
	START_LF,
	METHOD,
	TARGET,
	VERSION,
	REQUEST_LF,
	FIELD_START, /* the first byte of a field line, or the empty line */
	FIELD_NAME,
	FIELD_VALUE,
	FIELD_LF,
	HEAD_LF,
	CHUNK_SIZE,
	CHUNK_SPACE, /* white space between size and extension */
	CHUNK_EXTENSION,
	CHUNK_LF,
	CHUNK_END_CR,
	CHUNK_END_LF,
	CHUNK_DATA, /* this and BODY are skipped in runs, not byte by byte */
	BODY,
	BROKEN,
};

/* Fields whose value is read; the rest are only checked for their characters. */
enum { OTHER, HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, EXPECT };

/* Facts about the head. */
enum {
	HAS_HOST = 1 << 0,
	HAS_LENGTH = 1 << 1,
	HAS_CODING = 1 << 2,     /* a Transfer-Encoding field */
	CHUNKED = 1 << 3,        /* its last coding so far is chunked */
	UNKNOWN_CODING = 1 << 4, /* one of its codings is not */
	CLOSE = 1 << 5,
	KEEP_ALIVE = 1 << 6,
	EXPECT_CONTINUE = 1 << 7,
	EXPECT_OTHER = 1 << 8,
	IS_CONNECT = 1 << 9,
	IS_OPTIONS = 1 << 10,
	IN_TRAILER = 1 << 11,
};

static http_event broken(http_parser *p, uint16_t status)
{
	p->state = BROKEN;
	p->status = status;
	return HTTP_BROKEN;
}

static http_event enter(http_parser *p, uint8_t state)
{
	p->state = state;
	p->word_len = 0;
	p->gap = false;
	return HTTP_MORE;
}

/* Goes to state if c is the byte that must come here, and ends the request with 400 if not. */
static http_event expect(http_parser *p, uint8_t c, uint8_t wanted, uint8_t state)
{
	return c == wanted ? enter(p, state) : broken(p, 400);
}

static http_event push(http_parser *p, char c)
{
	if (p->word_len < HTTP_WORD_MAX)
		p->word[p->word_len++] = c;
	else
		p->word_len = HTTP_WORD_MAX + 1;
	return HTTP_MORE;
}

static bool word_is(const http_parser *p, const char *text)
{
	return p->word_len == strlen(text) && memcmp(p->word, text, p->word_len) == 0;
}

/* The request line. */

static void learn_method(http_parser *p)
{
	p->head = word_is(p, "HEAD");
	if (word_is(p, "CONNECT"))
		p->facts |= IS_CONNECT;
	if (word_is(p, "OPTIONS"))
		p->facts |= IS_OPTIONS;
}

/* The target is a path, "*" for OPTIONS, or an absolute URI, judged by its beginning (RFC 9112, 3.2). CONNECT's
 * host:port is not looked at: it is answered 501 whatever it names. */
static bool target_ok(http_parser *p)
{
	if (p->facts & IS_CONNECT)
		return p->word_len > 0;
	if (word_is(p, "*"))
		return p->facts & IS_OPTIONS;
	if (p->word_len > 0 && p->word[0] == '/')
		return true;
	p->word[p->word_len > HTTP_WORD_MAX ? HTTP_WORD_MAX : p->word_len] = 0;
	const char *colon = strstr(p->word, "://");
	return colon != NULL && colon != p->word;
}

static http_event learn_version(http_parser *p)
{
	const char *w = p->word;
	if (p->word_len != 8 || memcmp(w, "HTTP/", 5) != 0 || w[6] != '.')
		return broken(p, 400);
	if (!is_digit((uint8_t)w[5]) || !is_digit((uint8_t)w[7]))
		return broken(p, 400);
	if (w[5] != '1')
		return broken(p, 505);
	p->minor = w[7] == '0' ? 0 : 1; /* a later minor version is served as the highest known one */
	return enter(p, REQUEST_LF);
}

static http_event request_line(http_parser *p, uint8_t c)
{
	switch (p->state) {
	case START:
		if (c == '\r')
			return enter(p, START_LF);
		p->state = METHOD;
		return is_token(c) ? push(p, (char)c) : broken(p, 400);
	case START_LF:
		return expect(p, c, '\n', START);
	case METHOD:
		if (c != ' ')
			return is_token(c) ? push(p, (char)c) : broken(p, 400);
		learn_method(p);
		return enter(p, TARGET);
	case TARGET:
		if (c != ' ')
			return is_target(c) ? push(p, (char)c) : broken(p, 400);
		return target_ok(p) ? enter(p, VERSION) : broken(p, 400);
	case VERSION:
		if (c == '\r')
			return learn_version(p);
		return p->word_len < 8 ? push(p, (char)c) : broken(p, 400);
	default:
		return expect(p, c, '\n', FIELD_START);
	}
}

/* Fields. */

static http_event learn_name(http_parser *p)
{
	p->field = OTHER;
	if (p->facts & IN_TRAILER) /* a trailer must not change the framing (RFC 9110, 6.5.1) */
		return enter(p, FIELD_VALUE);
	if (word_is(p, "host")) {
		p->field = HOST;
		if (p->facts & HAS_HOST)
			return broken(p, 400);
		p->facts |= HAS_HOST;
	} else if (word_is(p, "content-length")) {
		p->field = CONTENT_LENGTH;
	} else if (word_is(p, "transfer-encoding")) {
		p->field = TRANSFER_ENCODING;
		p->facts |= HAS_CODING;
	} else if (word_is(p, "connection")) {
		p->field = CONNECTION;
	} else if (word_is(p, "expect")) {
		p->field = EXPECT;
	}
	return enter(p, FIELD_VALUE);
}

/* "5, 5" and a second line that says 5 again are the same length once more (RFC 9110, 8.6). */
static http_event learn_length(http_parser *p)
{
	uint64_t n = 0;
	if (p->word_len == 0 || p->word_len > HTTP_WORD_MAX)
		return broken(p, 400);
	for (uint8_t i = 0; i < p->word_len; i++) {
		uint8_t c = (uint8_t)p->word[i];
		if (!is_digit(c) || n > (UINT64_MAX - 9) / 10)
			return broken(p, 400);
		n = n * 10 + (c - '0');
	}
	if ((p->facts & HAS_LENGTH) && p->left != n)
		return broken(p, 400);
	p->facts |= HAS_LENGTH;
	p->left = n;
	return HTTP_MORE;
}

static http_event learn_coding(http_parser *p)
{
	if (p->facts & CHUNKED) /* chunked must be the last */
		return broken(p, 400);
	p->facts |= word_is(p, "chunked") ? CHUNKED : UNKNOWN_CODING;
	return HTTP_MORE;
}

/* Takes one element of the comma-separated list that a field's value is. */
static http_event learn_element(http_parser *p)
{
	if (p->field == CONTENT_LENGTH)
		return learn_length(p);
	if (p->word_len == 0) /* empty elements mean nothing (RFC 9110, 5.6.1.2) */
		return HTTP_MORE;
	if (p->field == TRANSFER_ENCODING)
		return learn_coding(p);
	if (p->field == CONNECTION && word_is(p, "close"))
		p->facts |= CLOSE;
	if (p->field == CONNECTION && word_is(p, "keep-alive"))
		p->facts |= KEEP_ALIVE;
	if (p->field == EXPECT)
		p->facts |= word_is(p, "100-continue") ? EXPECT_CONTINUE : EXPECT_OTHER;
	return HTTP_MORE;
}

static http_event value_end(http_parser *p)
{
	bool list = p->field != OTHER && p->field != HOST;
	if (list && learn_element(p) == HTTP_BROKEN)
		return HTTP_BROKEN;
	return enter(p, FIELD_LF);
}

static http_event value_byte(http_parser *p, uint8_t c)
{
	if (!is_text(c))
		return broken(p, 400);
	if (p->field == OTHER)
		return HTTP_MORE;
	if (is_space(c)) {
		p->gap = p->word_len > 0;
		return HTTP_MORE;
	}
	if (p->field == HOST)
		return is_host(c) && !p->gap ? push(p, (char)c) : broken(p, 400);
	if (c == ',') {
		http_event event = learn_element(p);
		return event == HTTP_MORE ? enter(p, FIELD_VALUE) : event;
	}
	if (p->gap) /* white space inside an element stays, so that it matches nothing */
		push(p, ' ');
	p->gap = false;
	return push(p, lower(c));
}

/* Judges the whole head, in the order in which doubt about the framing weighs, and begins the body. */
static http_event head_complete(http_parser *p)
{
	bool coded = p->facts & HAS_CODING;
	if (p->facts & IN_TRAILER)
		return HTTP_REQUEST;
	if (p->minor > 0 && !(p->facts & HAS_HOST))
		return broken(p, 400);
	if (coded && (p->minor == 0 || p->facts & HAS_LENGTH || !(p->facts & (CHUNKED | UNKNOWN_CODING))))
		return broken(p, 400);
	if (p->facts & UNKNOWN_CODING)
		return broken(p, 501);
	if (p->facts & IS_CONNECT) /* a 200 would promise a tunnel */
		return broken(p, 501);
	if (p->minor > 0 && p->facts & EXPECT_OTHER)
		return broken(p, 417);
	p->keep_alive = !(p->facts & CLOSE) && (p->minor > 0 || p->facts & KEEP_ALIVE);
	if (!coded && p->left == 0)
		return HTTP_REQUEST;
	enter(p, coded ? CHUNK_SIZE : BODY);
	return p->minor > 0 && p->facts & EXPECT_CONTINUE ? HTTP_CONTINUE : HTTP_MORE;
}

static http_event field(http_parser *p, uint8_t c)
{
	switch (p->state) {
	case FIELD_START:
		if (c == '\r')
			return enter(p, HEAD_LF);
		p->state = FIELD_NAME; /* white space here would continue the line above: obs-fold, refused */
		return is_token(c) ? push(p, lower(c)) : broken(p, 400);
	case FIELD_NAME:
		if (c == ':')
			return learn_name(p);
		return is_token(c) ? push(p, lower(c)) : broken(p, 400);
	case FIELD_VALUE:
		return c == '\r' ? value_end(p) : value_byte(p, c);
	case FIELD_LF:
		return expect(p, c, '\n', FIELD_START);
	default:
		return c == '\n' ? head_complete(p) : broken(p, 400);
	}
}

/* Chunks. */

static http_event chunk_digit(http_parser *p, uint8_t c)
{
	int digit = hex(c);
	if (digit < 0 || p->left >> 56)
		return broken(p, 400);
	p->left = p->left << 4 | (uint64_t)digit;
	return push(p, (char)c);
}

static http_event chunk(http_parser *p, uint8_t c)
{
	if (++p->line_size > HTTP_CHUNK_LINE_MAX)
		return broken(p, 400);
	switch (p->state) {
	case CHUNK_SIZE:
		if (p->word_len == 0 || !(c == '\r' || c == ';' || is_space(c)))
			return chunk_digit(p, c);
		return enter(p, c == '\r' ? CHUNK_LF : c == ';' ? CHUNK_EXTENSION : CHUNK_SPACE);
	case CHUNK_SPACE:
		return is_space(c) ? HTTP_MORE : expect(p, c, ';', CHUNK_EXTENSION);
	case CHUNK_EXTENSION:
		if (c == '\r')
			return enter(p, CHUNK_LF);
		return is_text(c) ? HTTP_MORE : broken(p, 400);
	case CHUNK_LF:
		if (p->left == 0)
			p->facts |= IN_TRAILER;
		return expect(p, c, '\n', p->left == 0 ? FIELD_START : CHUNK_DATA);
	case CHUNK_END_CR:
		return expect(p, c, '\r', CHUNK_END_LF);
	default:
		p->line_size = 0;
		return expect(p, c, '\n', CHUNK_SIZE);
	}
}

/* The whole. */

static http_event step(http_parser *p, uint8_t c)
{
	if (p->state > HEAD_LF)
		return chunk(p, c);
	if (p->head_size++ == HTTP_HEAD_MAX)
		return broken(p, p->state == TARGET ? 414 : 431);
	return p->state < FIELD_START ? request_line(p, c) : field(p, c);
}

/* Skips what is here of the body or the chunk. */
static size_t skip(http_parser *p, size_t len)
{
	size_t n = p->left < len ? (size_t)p->left : len;
	p->left -= n;
	if (p->left == 0 && p->state == CHUNK_DATA)
		enter(p, CHUNK_END_CR);
	return n;
}

http_event http_feed(http_parser *p, const uint8_t *data, size_t len, size_t *used)
{
	http_event event = p->state == BROKEN ? HTTP_BROKEN : HTTP_MORE;
	size_t i = 0;
	while (i < len && event == HTTP_MORE) {
		if (p->state < CHUNK_DATA) {
			event = step(p, data[i++]);
			continue;
		}
		i += skip(p, len - i);
		if (p->state == BODY && p->left == 0)
			event = HTTP_REQUEST;
	}
	*used = i;
	return event;
}

void http_reset(http_parser *p)
{
	memset(p, 0, sizeof *p);
}

bool http_idle(const http_parser *p)
{
	return p->state <= START_LF;
}
