/* fuzz — the request parser, given whole what it is then given byte by byte: both must see the same requests end at
 * the same places with the same results.
 *
 *	clang -g -fsanitize=fuzzer,address,undefined -I../hello-c -o fuzz main.c ../hello-c/http.c && ./fuzz
 */
#include <stdlib.h>

#include "http.h"

#define STEPS_MAX 4096

typedef struct {
	http_event event;
	size_t at; /* how many bytes had been read */
	uint16_t status;
	uint8_t minor;
	bool head, keep_alive;
} step;

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Feeds piece bytes at a time, notes each step that ends, and returns how many there were. */
static size_t parse(const uint8_t *data, size_t len, size_t piece, step *steps)
{
	http_parser p;
	size_t n = 0, at = 0;
	http_reset(&p);
	while (at < len && n < STEPS_MAX) {
		size_t used, given = len - at < piece ? len - at : piece;
		http_event event = http_feed(&p, data + at, given, &used);
		require(used <= given && used > 0);
		require(event != HTTP_MORE || used == given);
		at += used;
		if (event == HTTP_MORE)
			continue;
		require((event == HTTP_BROKEN) == (p.status != 0));
		steps[n++] = (step){event, at, p.status, p.minor, p.head, p.keep_alive};
		if (event == HTTP_BROKEN)
			break;
		if (event == HTTP_REQUEST)
			http_reset(&p);
	}
	return n;
}

static bool same(const step *a, const step *b)
{
	return a->event == b->event && a->at == b->at && a->status == b->status && a->minor == b->minor &&
	       a->head == b->head && a->keep_alive == b->keep_alive;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static step whole[STEPS_MAX], bytes[STEPS_MAX];
	size_t n = parse(data, len, len, whole);
	require(parse(data, len, 1, bytes) == n);
	for (size_t i = 0; i < n; i++)
		require(same(&whole[i], &bytes[i]));
	return 0;
}
