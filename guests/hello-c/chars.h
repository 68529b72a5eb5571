/* chars.h — what a byte of a request may be part of (RFC 9110 section 5, RFC 3986 section 3.2). */
#ifndef CHARS_H
#define CHARS_H

#include <stdbool.h>
#include <stdint.h>

enum { CHAR_TOKEN = 1, CHAR_HOST = 2, CHAR_BOTH = CHAR_TOKEN | CHAR_HOST };

static const uint8_t char_classes[256] = {
	['0' ... '9'] = CHAR_BOTH, ['A' ... 'Z'] = CHAR_BOTH, ['a' ... 'z'] = CHAR_BOTH,
	['!'] = CHAR_BOTH, ['$'] = CHAR_BOTH, ['%'] = CHAR_BOTH, ['&'] = CHAR_BOTH, ['\''] = CHAR_BOTH,
	['*'] = CHAR_BOTH, ['+'] = CHAR_BOTH, ['-'] = CHAR_BOTH, ['.'] = CHAR_BOTH, ['_'] = CHAR_BOTH,
	['~'] = CHAR_BOTH,
	['#'] = CHAR_TOKEN, ['^'] = CHAR_TOKEN, ['`'] = CHAR_TOKEN, ['|'] = CHAR_TOKEN,
	['('] = CHAR_HOST, [')'] = CHAR_HOST, [','] = CHAR_HOST, [';'] = CHAR_HOST, ['='] = CHAR_HOST,
	[':'] = CHAR_HOST, ['['] = CHAR_HOST, [']'] = CHAR_HOST,
};

static inline bool is_token(uint8_t c) { return char_classes[c] & CHAR_TOKEN; }
static inline bool is_host(uint8_t c) { return char_classes[c] & CHAR_HOST; }
static inline bool is_space(uint8_t c) { return c == ' ' || c == '\t'; }
static inline bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline bool is_target(uint8_t c) { return c > 0x20 && c < 0x7f; }
static inline bool is_text(uint8_t c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; }

static inline char lower(uint8_t c) { return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c); }

/* The value of a hexadecimal digit, or -1. */
static inline int hex(uint8_t c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
