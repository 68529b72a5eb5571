#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"
#include "loop.h"
#include "response.h"

/* The shortest requests, back to back, and one more on each edge of the read. */
_Static_assert((CONN_INPUT_MAX / HTTP_REQUEST_MIN + 2) * RESPONSE_MAX <= CONN_OUTPUT_MAX, "one read's answers fit");
_Static_assert(CONN_MAX <= LOOP_LISTENER, "a slot is no listener's token");

/* SERVING ─► CLOSING ─► closed                the client said that it is done
 *         └► ENDING ─► LINGERING ─► closed    we are, and more may be on its way */
enum stage { FREE, SERVING, CLOSING, ENDING, LINGERING };

typedef struct conn {
	int fd;
	enum stage stage;
	http_parser parser;
	uint8_t *pending; /* answers that the client has not taken yet, or NULL */
	size_t pending_len, sent;
	struct conn *next, *previous; /* LINGERING: the queue. FREE: next free slot */
	int64_t deadline;             /* LINGERING */
} conn;

static conn table[CONN_MAX];
static conn *freed;        /* slots that were used before */
static unsigned untouched; /* slots from here on never were, and their memory is not there yet */
static unsigned count;
static uint64_t ended;

static conn *lingering_first, *lingering_last; /* by deadline, which is by age */
static bool draining;
static int64_t quiet_until = -1; /* while draining, until the idle ones were closed */

static uint8_t input[CONN_INPUT_MAX];
static uint8_t output[CONN_OUTPUT_MAX];
static void (*on_request)(void);

static uint64_t slot_of(const conn *c)
{
	return (uint64_t)(c - table);
}

static bool again(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* The end of a connection. */

static void unqueue(conn *c)
{
	*(c->previous ? &c->previous->next : &lingering_first) = c->next;
	*(c->next ? &c->next->previous : &lingering_last) = c->previous;
}

static void drop(conn *c)
{
	if (c->stage == LINGERING)
		unqueue(c);
	loop_close(c->fd);
	free(c->pending);
	c->pending = NULL;
	c->stage = FREE;
	c->next = freed;
	freed = c;
	count--;
	ended++;
}

static void linger(conn *c)
{
	if (shutdown(c->fd, SHUT_WR) < 0) {
		drop(c);
		return;
	}
	c->stage = LINGERING;
	c->deadline = loop_now() + CONN_LINGER_MS;
	c->previous = lingering_last;
	c->next = NULL;
	*(c->previous ? &c->previous->next : &lingering_first) = c;
	lingering_last = c;
}

/* Answers on their way out. */

static void output_is_gone(conn *c)
{
	if (c->stage == CLOSING)
		drop(c);
	else if (c->stage == ENDING)
		linger(c);
}

static void set_aside(conn *c, const uint8_t *rest, size_t len)
{
	c->pending = malloc(len);
	if (c->pending == NULL || !loop_watch(c->fd, LOOP_WRITE, slot_of(c))) {
		drop(c);
		return;
	}
	memcpy(c->pending, rest, len);
	c->pending_len = len;
	c->sent = 0;
}

static void send_output(conn *c, size_t len)
{
	ssize_t n = write(c->fd, output, len);
	if (n < 0 && !again())
		drop(c);
	else if (n < (ssize_t)len)
		set_aside(c, output + (n < 0 ? 0 : n), len - (size_t)(n < 0 ? 0 : n));
	else
		output_is_gone(c);
}

static void send_pending(conn *c)
{
	ssize_t n = write(c->fd, c->pending + c->sent, c->pending_len - c->sent);
	if (n < 0 && again())
		return;
	if (n < 0) {
		drop(c);
		return;
	}
	c->sent += (size_t)n;
	if (c->sent < c->pending_len)
		return;
	free(c->pending);
	c->pending = NULL;
	if (loop_watch(c->fd, LOOP_READ, slot_of(c)))
		output_is_gone(c);
	else
		drop(c);
}

/* Requests on their way in. */

/* Answers one request; rest bytes came behind it. While draining, only the last request in hand is told to
 * close, so that none behind it goes unanswered. */
static size_t answer_request(conn *c, uint8_t *out, size_t rest)
{
	bool keep = c->parser.keep_alive && (!draining || rest > 0);
	size_t len = response_hello(out, &c->parser, keep);
	if (!keep) /* a client that asked to close and sent no more needs no lingering */
		c->stage = !c->parser.keep_alive && rest == 0 ? CLOSING : ENDING;
	http_reset(&c->parser);
	if (on_request != NULL)
		on_request();
	return len;
}

/* Answers all that len bytes of input complete, and returns the answers' length in output. */
static size_t answer_input(conn *c, size_t len)
{
	size_t at = 0, out = 0;
	while (c->stage == SERVING) {
		size_t used;
		http_event event = http_feed(&c->parser, input + at, len - at, &used);
		at += used;
		if (event == HTTP_MORE)
			break;
		if (event == HTTP_REQUEST) {
			out += answer_request(c, output + out, len - at);
		} else if (event == HTTP_CONTINUE) {
			out += response_continue(output + out);
		} else {
			out += response_error(output + out, c->parser.status);
			c->stage = ENDING;
		}
	}
	return out;
}

void conn_ready(uint64_t slot)
{
	conn *c = &table[slot];
	if (c->stage == FREE)
		return;
	if (c->pending != NULL) {
		send_pending(c);
		return;
	}
	/* One read: if more is waiting, the loop will say so. */
	ssize_t n = read(c->fd, input, sizeof input);
	if (n == 0 || (n < 0 && !again())) {
		drop(c); /* all whole requests were answered; half of one deserves nothing */
		return;
	}
	if (n < 0 || c->stage == LINGERING)
		return;
	size_t out = answer_input(c, (size_t)n);
	if (out > 0)
		send_output(c, out);
}

/* The table. */

void conn_init(void (*request_hook)(void))
{
	on_request = request_hook;
}

bool conn_full(void)
{
	return count == CONN_MAX;
}

unsigned conn_count(void)
{
	return count;
}

uint64_t conn_ended(void)
{
	return ended;
}

void conn_add(int fd)
{
	conn *c = freed;
	if (c != NULL)
		freed = c->next;
	else
		c = &table[untouched++];
	count++;
	c->fd = fd;
	c->stage = SERVING;
	http_reset(&c->parser);
	if (!loop_watch(fd, LOOP_READ, slot_of(c)))
		drop(c);
}

/* Time. */

void conn_drain(void)
{
	if (draining)
		return;
	draining = true;
	quiet_until = loop_now() + CONN_QUIET_MS;
}

static void close_quiet(void)
{
	for (unsigned i = 0; i < untouched; i++) {
		conn *c = &table[i];
		if (c->stage == SERVING && c->pending == NULL && http_idle(&c->parser))
			linger(c);
	}
}

int64_t conn_tick(void)
{
	if (lingering_first == NULL && quiet_until < 0)
		return -1;
	int64_t now = loop_now();
	if (quiet_until >= 0 && now >= quiet_until) {
		quiet_until = -1;
		close_quiet();
	}
	while (lingering_first != NULL && lingering_first->deadline <= now)
		drop(lingering_first);
	int64_t left = lingering_first != NULL ? lingering_first->deadline - now : -1;
	return loop_sooner(left, quiet_until < 0 ? -1 : quiet_until - now);
}
