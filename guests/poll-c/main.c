/* poll — an ordinary wasip1 program that has never heard of wcluster: its listening socket is descriptor 3, and
 * its event loop is poll(2). The HTTP server above the loop is hello-c's.
 *
 *	wcluster run poll.wasm -n 4 --listen tcp://127.0.0.1:8000
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../hello-c/conn.h"
#include "../hello-c/listeners.h"
#include "../hello-c/loop.h"
#include "../hello-c/response.h"

#define LISTENER 3

/* Descriptors that poll looks at: poll costs time for each, so the build keeps CONN_MAX small. */
#define POLLED_MAX (CONN_MAX + 1)

/* The host hands out the lowest free number, so a descriptor is below this. */
#define FD_MAX (CONN_MAX + 16)

static struct pollfd polled[POLLED_MAX];
static uint64_t tokens[POLLED_MAX];
static unsigned count;
static unsigned place[FD_MAX]; /* of a descriptor in polled, plus one */

bool loop_watch(int fd, unsigned interest, uint64_t token)
{
	if (fd >= FD_MAX)
		return false;
	if (place[fd] == 0)
		place[fd] = ++count;
	unsigned i = place[fd] - 1;
	short events = (short)((interest & LOOP_READ ? POLLIN : 0) | (interest & LOOP_WRITE ? POLLOUT : 0));
	polled[i] = (struct pollfd){.fd = fd, .events = events};
	tokens[i] = token;
	return true;
}

/* The last entry moves into the gap. */
void loop_unwatch(int fd)
{
	if (fd >= FD_MAX || place[fd] == 0)
		return;
	unsigned gap = place[fd] - 1;
	count--;
	polled[gap] = polled[count];
	tokens[gap] = tokens[count];
	place[polled[gap].fd] = gap + 1;
	place[fd] = 0;
}

void loop_close(int fd)
{
	loop_unwatch(fd);
	close(fd);
}

int64_t loop_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Backwards, because an entry that leaves is replaced by the last, which was looked at by then. */
static void deliver(void)
{
	for (unsigned i = count; i-- > 0;) {
		if (i >= count || polled[i].revents == 0)
			continue;
		polled[i].revents = 0;
		if (tokens[i] >= LOOP_LISTENER)
			listeners_accept(tokens[i]);
		else
			conn_ready(tokens[i]);
	}
}

int main(void)
{
	const char *id = getenv("WCLUSTER_WORKER_ID");
	response_init(id == NULL ? 0 : (uint32_t)atoi(id));
	conn_init(NULL);
	fcntl(LISTENER, F_SETFL, O_NONBLOCK);
	if (!listeners_add(LISTENER)) {
		perror("listener");
		return 1;
	}
	for (;;) {
		int64_t ms = loop_sooner(conn_tick(), listeners_tick());
		if (poll(polled, count, (int)ms) < 0) {
			perror("poll");
			return 1;
		}
		deliver();
	}
}
