/* An mTLS load client: THREADS blocking connections, HTTP/1.1, one request at a time on each.
 *
 *   load PORT CONNECTIONS SECONDS BODY SIGNATURE PATH NEW_CONNECTION CERT KEY [TOTAL_RATE]
 *
 * NEW_CONNECTION=1    a full handshake for every request; 0: the connections are opened before the clock starts
 * CERT -              no client certificate
 * TOTAL_RATE          paced, requests a second over all connections; the schedule does not wait for the server, and a
 *                     late send counts as latency (no coordinated omission). Without it: as fast as it is answered
 * In the environment:
 * VARY=1 SECRET=...   each request replaces the marker @@@@@@@@@@@@ in the body by its own 12 digits and signs it afresh
 * FIRST=0             the serial number that each connection begins with, so that several runs share no id
 * ACKED=FILE          the 12 digits of every request answered 200 are written there, one a line
 * HOST=127.0.0.1      the address to dial (loopback)
 *
 * One line on stdout, KEY=VALUE each: ok bad rps p50 p90 p99 p999 max (ms) over250 over1000 (answers slower than that many
 * ms) began ended (Unix time) cpu (seconds of this client).
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARKER "@@@@@@@@@@@@"
#define MARKER_LEN 12
#define BODY_MAX (4 << 20)
#define HEAD_MAX 2048
#define SAMPLES_AT_FIRST 4096 /* a connection; doubled when full */

static SSL_CTX *ctx;
static int port, threads, new_connection, vary;
static long first;
static double seconds, rate_each, started;
static const char *path, *secret, *host = "127.0.0.1";
static char *body_template, fixed_signature[256];
static size_t body_len;
static long marker_at = -1;
static pthread_barrier_t dialled, go;

typedef struct {
  int id;
  long ok, bad, cap;
  float *latency_ms;
  long *acked; /* serial numbers */
} Worker;

static double clock_now(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double now(void) { return clock_now(CLOCK_MONOTONIC); }

static void *or_die(void *memory) {
  if (!memory) {
    fprintf(stderr, "out of memory\n");
    exit(3);
  }
  return memory;
}

static SSL *dial(int *fd) {
  struct sockaddr_in a = {0};
  struct timeval patience = {30, 0};
  int one = 1;
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, host, &a.sin_addr);
  *fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  SSL *s = NULL;
  if (connect(*fd, (void *)&a, sizeof a) == 0) {
    s = SSL_new(ctx);
    SSL_set_fd(s, *fd);
    if (SSL_connect(s) == 1) return s;
    SSL_free(s);
  }
  close(*fd);
  return NULL;
}

static void hang_up(SSL *s, int fd) {
  SSL_shutdown(s);
  SSL_free(s);
  close(fd);
}

static size_t build(Worker *w, char *out, long serial) {
  char *body = body_template, signature[256];
  strcpy(signature, fixed_signature);
  if (vary) {
    body = out + HEAD_MAX; /* assembled behind the head, moved up below */
    memcpy(body, body_template, body_len);
    char digits[32];
    snprintf(digits, sizeof digits, "%04d%08ld", w->id % 10000, serial % 100000000);
    memcpy(body + marker_at, digits, MARKER_LEN);
    unsigned char mac[32];
    unsigned mac_len;
    HMAC(EVP_sha256(), secret, strlen(secret), (unsigned char *)body, body_len, mac, &mac_len);
    strcpy(signature, "sha256=");
    for (unsigned i = 0; i < mac_len; i++) sprintf(signature + 7 + 2 * i, "%02x", mac[i]);
  }
  char head[HEAD_MAX];
  int n = snprintf(head, sizeof head,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: facebookexternalua\r\nAccept: */*\r\n"
                   "Accept-Encoding: deflate, gzip\r\nContent-Type: application/json\r\n"
                   "X-Hub-Signature-256: %s\r\nContent-Length: %zu\r\n\r\n",
                   path, signature, body_len);
  if (n < 0 || n >= (int)sizeof head) {
    fprintf(stderr, "the path is too long\n");
    exit(2);
  }
  memmove(out + n, body, body_len);
  memcpy(out, head, n);
  return n + body_len;
}

/* Post one request and read its whole answer; returns whether it was a 200. */
static int post(SSL *s, const char *request, size_t request_len, int *closing) {
  char reply[8192];
  int got = 0, head = -1;
  long length = 0;
  if (SSL_write(s, request, request_len) <= 0) return 0;
  while (got < (int)sizeof reply - 1) {
    int n = SSL_read(s, reply + got, sizeof reply - 1 - got);
    if (n <= 0) return 0;
    got += n;
    reply[got] = 0;
    char *end = head < 0 ? strstr(reply, "\r\n\r\n") : NULL;
    if (end) {
      head = end - reply + 4;
      char *field = strcasestr(reply, "content-length:");
      if (field && field < end) length = atol(field + 15);
      field = strcasestr(reply, "connection: close");
      *closing = field && field < end;
    }
    if (head >= 0 && got >= head + length) return got > 12 && !strncmp(reply + 9, "200", 3);
  }
  return 0;
}

static void keep(Worker *w, double latency_ms, long serial) {
  if (w->ok == w->cap) {
    w->cap *= 2;
    w->latency_ms = or_die(realloc(w->latency_ms, sizeof *w->latency_ms * w->cap));
    w->acked = or_die(realloc(w->acked, sizeof *w->acked * w->cap));
  }
  w->latency_ms[w->ok] = latency_ms;
  w->acked[w->ok++] = serial;
}

static void *work(void *arg) {
  Worker *w = arg;
  char *request = or_die(malloc(BODY_MAX + 2 * HEAD_MAX));
  long serial = first;
  size_t request_len = build(w, request, serial);
  int fd = -1;
  SSL *s = new_connection ? NULL : dial(&fd);
  pthread_barrier_wait(&dialled);
  pthread_barrier_wait(&go);
  double next = started + (rate_each > 0 ? (double)w->id / threads / rate_each : 0);
  for (;;) {
    double from = now();
    if (rate_each > 0) {
      if (next - started >= seconds) break; /* the whole schedule is sent, late if need be */
      if (from < next) usleep((next - from) * 1e6);
      from = next; /* a late send counts as latency */
      next += 1.0 / rate_each;
      if (now() - started >= 2 * seconds + 1) break; /* hopelessly behind; what is missing shows in ok + bad */
    } else if (from - started >= seconds)
      break;
    if (!s && !(s = dial(&fd))) {
      w->bad++;
      usleep(10000);
      continue;
    }
    if (vary) request_len = build(w, request, serial);
    int closing = 0, ok = post(s, request, request_len, &closing);
    if (ok)
      keep(w, (now() - from) * 1e3, serial);
    else
      w->bad++;
    serial++;
    if (!ok || new_connection || closing) {
      hang_up(s, fd);
      s = NULL;
    }
  }
  if (s) hang_up(s, fd);
  free(request);
  return NULL;
}

static int by_value(const void *a, const void *b) {
  float x = *(float *)a, y = *(float *)b;
  return (x > y) - (x < y);
}

static size_t slurp(const char *name, char *into, size_t max) {
  FILE *f = fopen(name, "rb");
  if (!f) {
    perror(name);
    exit(2);
  }
  size_t n = fread(into, 1, max, f);
  fclose(f);
  return n;
}

/* The smallest latency that this share of all answers did not exceed (nearest rank). */
static float quantile(const float *sorted, long count, double share) {
  if (!count) return 0;
  long rank = (long)(count * share);
  return sorted[rank < count ? rank : count - 1];
}

static long slower(const float *sorted, long count, float than_ms) {
  long n = 0;
  while (n < count && sorted[count - 1 - n] > than_ms) n++;
  return n;
}

int main(int argc, char **argv) {
  if (argc < 10) {
    fprintf(stderr, "load PORT CONNECTIONS SECONDS BODY SIGNATURE PATH NEW_CONNECTION CERT KEY [TOTAL_RATE]\n");
    return 2;
  }
  port = atoi(argv[1]), threads = atoi(argv[2]), seconds = atof(argv[3]);
  if (threads < 1) return 2;
  body_template = or_die(calloc(1, BODY_MAX));
  body_len = slurp(argv[4], body_template, BODY_MAX - 1);
  fixed_signature[slurp(argv[5], fixed_signature, 200)] = 0;
  fixed_signature[strcspn(fixed_signature, "\r\n")] = 0;
  path = argv[6], new_connection = atoi(argv[7]);
  rate_each = argc > 10 ? atof(argv[10]) / threads : 0;
  if (getenv("HOST")) host = getenv("HOST");
  first = getenv("FIRST") ? atol(getenv("FIRST")) : 0;
  vary = getenv("VARY") && atoi(getenv("VARY"));
  secret = getenv("SECRET") ? getenv("SECRET") : "app-secret";
  if (vary) {
    char *at = strstr(body_template, MARKER);
    if (!at) {
      fprintf(stderr, "VARY: no marker %s in the body\n", MARKER);
      return 2;
    }
    marker_at = at - body_template;
  }
  signal(SIGPIPE, SIG_IGN);
  ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  if (strcmp(argv[8], "-") && (SSL_CTX_use_certificate_chain_file(ctx, argv[8]) != 1 ||
                               SSL_CTX_use_PrivateKey_file(ctx, argv[9], SSL_FILETYPE_PEM) != 1)) {
    fprintf(stderr, "cannot load %s and %s\n", argv[8], argv[9]);
    return 2;
  }
  Worker *w = or_die(calloc(threads, sizeof *w));
  pthread_t *t = or_die(calloc(threads, sizeof *t));
  pthread_barrier_init(&dialled, NULL, threads + 1);
  pthread_barrier_init(&go, NULL, threads + 1);
  for (int i = 0; i < threads; i++) {
    w[i].id = i, w[i].cap = SAMPLES_AT_FIRST;
    w[i].latency_ms = or_die(malloc(sizeof *w[i].latency_ms * w[i].cap));
    w[i].acked = or_die(malloc(sizeof *w[i].acked * w[i].cap));
    if (pthread_create(t + i, NULL, work, w + i)) {
      fprintf(stderr, "no thread %d\n", i);
      return 3;
    }
  }
  pthread_barrier_wait(&dialled);
  started = now();
  double began = clock_now(CLOCK_REALTIME);
  pthread_barrier_wait(&go);
  long ok = 0, bad = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(t[i], NULL);
    ok += w[i].ok, bad += w[i].bad;
  }
  double elapsed = now() - started, ended = clock_now(CLOCK_REALTIME);
  float *all = or_die(malloc(sizeof *all * (ok + 1)));
  long k = 0;
  FILE *acked = NULL;
  if (getenv("ACKED") && !(acked = fopen(getenv("ACKED"), "w"))) {
    perror(getenv("ACKED"));
    return 3;
  }
  for (int i = 0; i < threads; i++) {
    memcpy(all + k, w[i].latency_ms, sizeof *all * w[i].ok);
    k += w[i].ok;
    for (long j = 0; acked && j < w[i].ok; j++) fprintf(acked, "%04d%08ld\n", i % 10000, w[i].acked[j] % 100000000);
  }
  if (acked && fclose(acked)) {
    perror("ACKED");
    return 3;
  }
  qsort(all, k, sizeof *all, by_value);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  printf("ok=%ld bad=%ld rps=%.1f p50=%.2fms p90=%.2fms p99=%.2fms p999=%.2fms max=%.2fms over250=%ld over1000=%ld "
         "began=%.3f ended=%.3f cpu=%.2f\n",
         ok, bad, ok / elapsed, quantile(all, k, .5), quantile(all, k, .9), quantile(all, k, .99), quantile(all, k, .999),
         k ? all[k - 1] : 0, slower(all, k, 250), slower(all, k, 1000), began, ended, cpu);
  return 0;
}
