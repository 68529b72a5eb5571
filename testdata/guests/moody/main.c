/* moody — an ordinary server, one request and one connection at a time, whose clients choose how it misbehaves:
 *
 *	/       answers
 *	/spin   computes for ever, without a call to the host
 *	/trap   does what Wasm forbids
 *	/exit   exits with code 7
 *	/grow   takes memory, touching each page, until there is no more; then answers how much it has, in MiB
 *	/oom    takes memory in the same way, and then aborts, as a program does that cannot do without
 *	/hold   keeps the connection open and goes on with the next
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER 3
#define REQUEST_MAX 4096
#define PAGE 65536
#define STEP 16 /* pages, 1 MiB */

static size_t grow(void)
{
	for (;;) {
		size_t old = __builtin_wasm_memory_grow(0, STEP);
		if (old == (size_t)-1)
			return __builtin_wasm_memory_size(0) / STEP;
		for (size_t page = old; page < old + STEP; page++)
			for (size_t at = page * PAGE; at < (page + 1) * PAGE; at += 4096)
				*(volatile char *)at = 1;
	}
}

/* Reads up to the empty line; false if the client leaves before. */
static int request(int fd, char *text)
{
	size_t len = 0;
	while (len < REQUEST_MAX - 1) {
		ssize_t n = read(fd, text + len, REQUEST_MAX - 1 - len);
		if (n <= 0)
			return 0;
		len += (size_t)n;
		text[len] = 0;
		if (strstr(text, "\r\n\r\n") != NULL)
			return 1;
	}
	return 0;
}

static int asks(const char *text, const char *path)
{
	size_t n = strlen(path);
	return strncmp(text, "GET ", 4) == 0 && strncmp(text + 4, path, n) == 0 && text[4 + n] == ' ';
}

static void answer(int fd, const char *body)
{
	char text[256];
	int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
		strlen(body), body);
	write(fd, text, (size_t)n);
}

static void serve(int fd, const char *id)
{
	static char text[REQUEST_MAX];
	char body[64];
	if (!request(fd, text)) {
		close(fd);
		return;
	}
	if (asks(text, "/hold"))
		return;
	if (asks(text, "/spin")) {
		volatile unsigned turns = 0;
		for (;;)
			turns++;
	}
	if (asks(text, "/trap"))
		__builtin_trap();
	if (asks(text, "/exit"))
		exit(7);
	if (asks(text, "/oom")) {
		grow();
		abort();
	}
	if (asks(text, "/grow"))
		snprintf(body, sizeof body, "%zu MiB in worker %s\n", grow(), id);
	else
		snprintf(body, sizeof body, "hello from worker %s\n", id);
	answer(fd, body);
	close(fd);
}

int main(void)
{
	const char *id = getenv("WCLUSTER_WORKER_ID");
	for (;;) {
		/* wasi-libc's accept writes through both pointers without asking whether they are NULL. */
		struct sockaddr_storage address;
		socklen_t len = sizeof address;
		int fd = accept(LISTENER, (struct sockaddr *)&address, &len);
		if (fd >= 0)
			serve(fd, id == NULL ? "0" : id);
		else if (errno != EMFILE && errno != ENFILE && errno != EAGAIN) {
			perror("accept");
			return 1;
		}
	}
}
