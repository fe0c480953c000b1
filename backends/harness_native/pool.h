/* Threads that sleep until there is work. Created when first asked for; a forked child starts with
 * none. */

#include <pthread.h>

static struct {
    pthread_mutex_t user, lock; /* one call at a time uses the pool; `lock` guards the rest */
    pthread_cond_t wake, done;
    int threads, parts, running;
    unsigned long call;
    void (*work)(void *, int, int);
    void *argument;
} pool = {.user = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void forget_threads(void) {
    pool.threads = pool.running = 0;
    pool.user = pool.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pool.wake = pool.done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}

/* Thread i does part i of every call that has one; part 0 is the caller's. */
static void *serve(void *number) {
    int part = (int)(intptr_t)number;
    pthread_mutex_lock(&pool.lock);
    for (unsigned long seen = pool.call - 1;;) {
        while (pool.call == seen)
            pthread_cond_wait(&pool.wake, &pool.lock);
        seen = pool.call;
        if (part >= pool.parts)
            continue;
        pthread_mutex_unlock(&pool.lock);
        pool.work(pool.argument, part, pool.parts);
        pthread_mutex_lock(&pool.lock);
        if (--pool.running == 0)
            pthread_cond_signal(&pool.done);
    }
    return NULL;
}

static int grow(int threads) {
    if (pool.threads == 0)
        pthread_atfork(NULL, NULL, forget_threads);
    while (pool.threads < threads) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)(pool.threads + 1)) != 0)
            return 0;
        pthread_detach(thread);
        pool.threads++;
    }
    return 1;
}

/* Call work(argument, part, parts) for each of the parts of parts_of, each on its own thread;
   return when all have ended. If the pool is in use, or no thread can be created, the caller does
   every part. */
static void in_parallel(void (*work)(void *, int, int), void *argument, int parts) {
    if (parts > 1 && pthread_mutex_trylock(&pool.user) == 0) {
        pthread_mutex_lock(&pool.lock);
        pool.call++;
        pool.parts = 0; /* a thread made now must not take an old call for its own */
        int grown = grow(parts - 1);
        if (grown) {
            pool.work = work, pool.argument = argument, pool.parts = parts,
            pool.running = parts - 1;
            pthread_cond_broadcast(&pool.wake);
        }
        pthread_mutex_unlock(&pool.lock);
        if (grown) {
            work(argument, 0, parts);
            pthread_mutex_lock(&pool.lock);
            while (pool.running > 0)
                pthread_cond_wait(&pool.done, &pool.lock);
            pool.parts = 0;
            pthread_mutex_unlock(&pool.lock);
            pthread_mutex_unlock(&pool.user);
            return;
        }
        pthread_mutex_unlock(&pool.user);
    }
    for (int part = 0; part < parts; part++)
        work(argument, part, parts);
}
