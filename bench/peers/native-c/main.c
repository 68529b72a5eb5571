/* native-c — what the machine can do without Wasm: the hello server as native processes.
 *
 *	./native-c PORT WORKERS        listens on 127.0.0.1:PORT; port 0 takes a free one
 *
 * Parser, answers, connections and listeners are guests/hello-c's own sources, and the answers the same bytes.
 * Only the loop differs: one epoll instance for each forked worker, EPOLLEXCLUSIVE on the shared listener, one
 * accept for each wake. The first line on stdout says where it listens.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "listeners.h"
#include "loop.h"
#include "response.h"

#define EVENTS_MAX 256
#define BACKLOG 1024

/* A descriptor is below this: connections, the listener, epoll, stdio, and what the parent left open. */
#define FD_MAX (CONN_MAX + 64)

/* EPOLLEXCLUSIVE wakes the longest-registered waiter first, so one worker would take nearly all connections; going
 * to the end of the queue now and then spreads them, as wcluster's host does too. */
#define ACCEPTS_PER_TURN 8

static int epoll = -1;
static bool watched[FD_MAX];

/* loop.h over epoll. */

bool loop_watch(int fd, unsigned interest, uint64_t token)
{
	if (fd >= FD_MAX) {
		errno = EMFILE;
		return false;
	}
	struct epoll_event event = {.data.u64 = token};
	event.events = (interest & LOOP_READ ? EPOLLIN : 0) | (interest & LOOP_WRITE ? EPOLLOUT : 0);
	if (token >= LOOP_LISTENER)
		event.events |= EPOLLEXCLUSIVE;
	if (epoll_ctl(epoll, watched[fd] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
		return false;
	watched[fd] = true;
	return true;
}

void loop_unwatch(int fd)
{
	if (watched[fd])
		epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
	watched[fd] = false;
}

void loop_close(int fd)
{
	close(fd); /* the last reference: epoll forgets it too */
	if (fd < FD_MAX)
		watched[fd] = false;
}

int64_t loop_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void accept_one(int listener, uint64_t token)
{
	static unsigned turns;
	listeners_accept(token);
	if (++turns % ACCEPTS_PER_TURN == 0 && watched[listener]) {
		loop_unwatch(listener);
		loop_watch(listener, LOOP_READ, token);
	}
}

static void deliver(int listener, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		if (events[i].data.u64 >= LOOP_LISTENER)
			accept_one(listener, events[i].data.u64);
	}
	for (int i = 0; i < n; i++) {
		if (events[i].data.u64 < LOOP_LISTENER)
			conn_ready(events[i].data.u64);
	}
}

static int work(int listener, uint32_t worker)
{
	static struct epoll_event events[EVENTS_MAX];
	epoll = epoll_create1(EPOLL_CLOEXEC);
	response_init(worker);
	conn_init(NULL);
	if (epoll < 0 || !listeners_add(listener)) {
		perror("epoll");
		return 1;
	}
	for (;;) {
		int64_t ms = loop_sooner(conn_tick(), listeners_tick());
		int n = epoll_wait(epoll, events, EVENTS_MAX, (int)ms);
		if (n < 0 && errno != EINTR) {
			perror("epoll_wait");
			return 1;
		}
		deliver(listener, events, n);
	}
}

/* The parent. */

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof address;
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
		perror("listen");
		exit(1);
	}
	printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void fork_worker(int listener, uint32_t worker)
{
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a worker never outlives the parent */
	exit(work(listener, worker));
}

int main(int argc, char **argv)
{
	int workers = argc == 3 ? atoi(argv[2]) : 0;
	if (workers < 1) {
		fprintf(stderr, "usage: %s PORT WORKERS\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	int listener = listen_on((uint16_t)atoi(argv[1]));
	for (int i = 0; i < workers; i++)
		fork_worker(listener, (uint32_t)i + 1);
	wait(NULL); /* workers end only by accident; without one of them the figures would be another machine's */
	fprintf(stderr, "a worker died\n");
	return 1;
}
