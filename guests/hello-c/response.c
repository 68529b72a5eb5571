#include "response.h"

#include <string.h>

/* What the answer says about the connection. HTTP/1.1 keeps it by default, HTTP/1.0 wants to be told. */
enum { SILENT, KEEP_ALIVE, CLOSE, VARIANTS };
static const char *const connection_fields[VARIANTS] = {"", "Connection: keep-alive\r\n", "Connection: close\r\n"};

static struct {
	char bytes[RESPONSE_MAX];
	size_t head; /* bytes up to and with the empty line: all that HEAD is answered */
	size_t len;
} hello[VARIANTS];

/* snprintf would do, and be half of the module. */
static char *put(char *at, const char *text)
{
	size_t n = strlen(text);
	memcpy(at, text, n);
	return at + n;
}

static char *put_number(char *at, uint32_t n)
{
	if (n > 9)
		at = put_number(at, n / 10);
	*at++ = (char)('0' + n % 10);
	return at;
}

void response_init(uint32_t worker)
{
	char body[sizeof "hello from worker 4294967295\n"];
	char *end = put_number(put(body, "hello from worker "), worker);
	*end++ = '\n';
	size_t body_len = (size_t)(end - body);
	for (int i = 0; i < VARIANTS; i++) {
		char *at = put(hello[i].bytes, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ");
		at = put(put_number(at, (uint32_t)body_len), "\r\nX-Worker: ");
		at = put(put_number(at, worker), "\r\n");
		at = put(put(at, connection_fields[i]), "\r\n");
		hello[i].head = (size_t)(at - hello[i].bytes);
		memcpy(at, body, body_len);
		hello[i].len = hello[i].head + body_len;
	}
}

size_t response_hello(uint8_t *out, const http_parser *request, bool keep_alive)
{
	int i = !keep_alive ? CLOSE : request->minor == 0 ? KEEP_ALIVE : SILENT;
	size_t len = request->head ? hello[i].head : hello[i].len;
	memcpy(out, hello[i].bytes, len);
	return len;
}

static const char *status_line(uint16_t status)
{
	switch (status) {
	case 414:
		return "414 URI Too Long";
	case 417:
		return "417 Expectation Failed";
	case 431:
		return "431 Request Header Fields Too Large";
	case 501:
		return "501 Not Implemented";
	case 505:
		return "505 HTTP Version Not Supported";
	default:
		return "400 Bad Request";
	}
}

size_t response_error(uint8_t *out, uint16_t status)
{
	char *at = put(put((char *)out, "HTTP/1.1 "), status_line(status));
	at = put(at, "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	return (size_t)(at - (char *)out);
}

size_t response_continue(uint8_t *out)
{
	return (size_t)(put((char *)out, "HTTP/1.1 100 Continue\r\n\r\n") - (char *)out);
}
