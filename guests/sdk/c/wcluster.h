/* wcluster.h — the guest's side of the wcluster ABI, version 1, for C and C++.
 *
 * Every call that returns wcluster_errno answers 0 or a WASI errno (the __WASI_ERRNO_* numbers of
 * <wasi/api.h>). abi/ABI.md is the reference: each call, each errno, and when it is answered.
 *
 * Build with --target=wasm32-wasi; a guest that uses wcluster_on_message also needs the linker flag
 * -Wl,--export-table, because the host calls back through the function table.
 */
#ifndef WCLUSTER_H
#define WCLUSTER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t wcluster_errno;

#define WCLUSTER_IMPORT(name) __attribute__((import_module("wcluster"), import_name(name)))

/* Flags of wcluster_listen. */
#define WCLUSTER_LISTEN_IPV6ONLY 0x2u /* tcp://[::]: do not take IPv4 connections as well */

/* Interests of wcluster_watch, and what wcluster_wait reports in ready. */
#define WCLUSTER_READ 0x1u
#define WCLUSTER_WRITE 0x2u
#define WCLUSTER_HANGUP 0x4u /* reported only: the peer closed both directions */
#define WCLUSTER_ERROR 0x8u  /* reported only: the socket is in error */

/* Kinds of inbox record. */
#define WCLUSTER_RECORD_MESSAGE 1u    /* a message from the master: len bytes */
#define WCLUSTER_RECORD_DISCONNECT 2u /* finish what you have, then exit: len is 0 */

/* And in the master role: what happened to the worker from. */
#define WCLUSTER_RECORD_SETUP 16u         /* the settings, as JSON; from is 0 */
#define WCLUSTER_RECORD_FORK 17u          /* the process id, a uint32_t */
#define WCLUSTER_RECORD_ONLINE 18u        /* nothing */
#define WCLUSTER_RECORD_LISTENING 19u     /* the address, as text */
#define WCLUSTER_RECORD_DISCONNECTING 20u /* suicide, a uint32_t */
#define WCLUSTER_RECORD_DISCONNECTED 21u  /* likewise; from 0: the whole cluster, and the end of wcluster_dispatch */
#define WCLUSTER_RECORD_EXIT 22u          /* a wcluster_exit, then text that says why, where it is known */
#define WCLUSTER_RECORD_DEATH 23u         /* the same: the event's older name */

/* How a worker ended. */
typedef struct {
	int32_t code;     /* exit code, or -1 */
	uint32_t signal;  /* the signal that ended it, or 0 */
	uint32_t suicide; /* 1: it was told to, or chose to */
} wcluster_exit;

/* What wcluster_worker_info stores. */
typedef struct {
	uint32_t id;
	uint32_t state; /* 0 forked, 1 online, 2 listening, 3 disconnecting, 4 disconnected */
	uint32_t pid;
	uint32_t suicide; /* 0 not set yet, 1 no, 2 yes */
} wcluster_info;

/* One ready descriptor, as wcluster_wait stores it: 16 bytes. */
typedef struct {
	uint64_t token; /* what wcluster_watch was given */
	int32_t fd;
	uint32_t ready; /* WCLUSTER_READ | … */
} wcluster_event;

/* What wcluster_receive stores beside the body: 16 bytes. */
typedef struct {
	uint32_t kind; /* WCLUSTER_RECORD_… */
	uint32_t from; /* the sender: 0 is the master */
	uint32_t len;  /* bytes of the body */
	int32_t fd;    /* a descriptor that came along, or -1 */
} wcluster_record;

#ifdef __cplusplus
static_assert(sizeof(wcluster_event) == 16 && sizeof(wcluster_record) == 16, "the ABI's records are 16 bytes");
#else
_Static_assert(sizeof(wcluster_event) == 16 && sizeof(wcluster_record) == 16, "the ABI's records are 16 bytes");
#endif

typedef void (*wcluster_callback)(void *context, uint32_t from, const void *data, uint32_t len, int32_t fd);
typedef void (*wcluster_event_callback)(void *context, uint32_t kind, uint32_t from, const void *data, uint32_t len);

/* Who am I. */
WCLUSTER_IMPORT("version") uint32_t wcluster_version(void);
WCLUSTER_IMPORT("worker_id") uint32_t wcluster_worker_id(void);
WCLUSTER_IMPORT("cpus") uint32_t wcluster_cpus(void);

/* Sockets. spec is text without a terminating zero, such as "tcp://127.0.0.1:8000". */
WCLUSTER_IMPORT("listen")
wcluster_errno wcluster_listen(const char *spec, uint32_t len, uint32_t backlog, uint32_t flags, int32_t *fd);
WCLUSTER_IMPORT("local_address")
wcluster_errno wcluster_local_address(int32_t fd, char *buf, uint32_t cap, uint32_t *len);
WCLUSTER_IMPORT("peer_address")
wcluster_errno wcluster_peer_address(int32_t fd, char *buf, uint32_t cap, uint32_t *len);

/* Readiness, with epoll's shape: O(ready). timeout is in nanoseconds, -1 waits for ever. */
WCLUSTER_IMPORT("watch")
wcluster_errno wcluster_watch(int32_t fd, uint32_t interest, uint64_t token);
WCLUSTER_IMPORT("wait")
wcluster_errno wcluster_wait(wcluster_event *events, uint32_t max, int64_t timeout, uint32_t *n);

/* Messages. fd is a descriptor to pass along, or -1. */
WCLUSTER_IMPORT("inbox")
wcluster_errno wcluster_inbox(int32_t *fd);
WCLUSTER_IMPORT("send")
wcluster_errno wcluster_send(int32_t target, const void *buf, uint32_t len, int32_t fd);
WCLUSTER_IMPORT("receive")
wcluster_errno wcluster_receive(void *buf, uint32_t cap, wcluster_record *record);
WCLUSTER_IMPORT("on_message")
wcluster_errno wcluster_on_message(wcluster_callback callback, void *context, void *buf, uint32_t cap);
/* Delivers to the callback for timeout_ms, -1 for ever: 0 when the time has passed, ECANCELED when the worker is asked
 * to finish. */
WCLUSTER_IMPORT("dispatch")
wcluster_errno wcluster_dispatch(int32_t timeout_ms);

/* Leave the cluster: target 0 is this worker. */
WCLUSTER_IMPORT("disconnect")
wcluster_errno wcluster_disconnect(int32_t target);
/* End at once with exit code 0: target 0 is this worker, and the call then does not return. */
WCLUSTER_IMPORT("destroy")
wcluster_errno wcluster_destroy(int32_t target);

/* The master role: worker_id is 0. In a worker each of these answers EPERM. */
WCLUSTER_IMPORT("setup_master")
wcluster_errno wcluster_setup_master(const char *json, uint32_t len);
WCLUSTER_IMPORT("settings")
wcluster_errno wcluster_settings(char *buf, uint32_t cap, uint32_t *len);
/* env: K=V entries, each ended by a zero byte. */
WCLUSTER_IMPORT("fork")
wcluster_errno wcluster_fork(const char *env, uint32_t len, uint32_t *id);
WCLUSTER_IMPORT("workers")
wcluster_errno wcluster_workers(uint32_t *ids, uint32_t max, uint32_t *n);
WCLUSTER_IMPORT("worker_info")
wcluster_errno wcluster_worker_info(uint32_t id, wcluster_info *info);
WCLUSTER_IMPORT("kill")
wcluster_errno wcluster_kill(uint32_t id, uint32_t signal);
WCLUSTER_IMPORT("on_event")
wcluster_errno wcluster_on_event(wcluster_event_callback callback, void *context, void *buf, uint32_t cap);

#undef WCLUSTER_IMPORT

#ifdef __cplusplus
}
#endif

#endif
