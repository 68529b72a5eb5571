/* accept — the plainest server there is: blocking calls, one connection at a time, one request each. An ordinary
 * wasip1 program whose listening socket is descriptor 3.
 *
 *	wcluster run accept.wasm -n 4 --listen tcp://127.0.0.1:8000
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../hello-c/http.h"
#include "../hello-c/response.h"

#define LISTENER 3

static void write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* Answers the end of a step of the request. Returns false when the connection is done with. */
static bool answer(int fd, http_event event, const http_parser *request)
{
	uint8_t out[RESPONSE_MAX];
	switch (event) {
	case HTTP_MORE:
		return true;
	case HTTP_CONTINUE:
		write_all(fd, out, response_continue(out));
		return true;
	case HTTP_REQUEST:
		write_all(fd, out, response_hello(out, request, false));
		return false;
	default:
		write_all(fd, out, response_error(out, request->status));
		return false;
	}
}

static void serve(int fd)
{
	uint8_t in[4096];
	http_parser request;
	http_reset(&request);
	for (;;) {
		ssize_t n = read(fd, in, sizeof in);
		if (n <= 0)
			return;
		for (size_t at = 0, used; at < (size_t)n; at += used) {
			http_event event = http_feed(&request, in + at, (size_t)n - at, &used);
			if (!answer(fd, event, &request))
				return;
		}
	}
}

int main(void)
{
	const char *id = getenv("WCLUSTER_WORKER_ID");
	response_init(id == NULL ? 0 : (uint32_t)atoi(id));
	for (;;) {
		/* wasi-libc's accept writes through both pointers without asking whether they are NULL. */
		struct sockaddr_storage address;
		socklen_t len = sizeof address;
		int fd = accept(LISTENER, (struct sockaddr *)&address, &len);
		if (fd >= 0) {
			serve(fd);
			close(fd);
		} else if (errno != ECONNABORTED && errno != EINTR) {
			perror("accept");
			return 1;
		}
	}
}
