/*
 * nvmlsim: a make-believe libnvidia-ml.so.1.
 *
 * The real nvidia-ml-py (or anything else that speaks NVML) runs over it unmodified. One memory-mapped file, the
 * machine, is shared by every process that loads this library, so all of them see the same GPUs, the same clock and
 * the same faults, and all of them write into one log of calls:
 *
 *     traces    what each GPU does over time: power, clocks, temperature, time under each clock limit, activity
 *     settings  how the driver tells it: counter steps, ring depth and clock, MIG, processes
 *     faults    which function fails, is slow or hangs, and at which of its calls
 *     log       every call: when, how long, by whom, and what it returned
 *
 * Time is the host's CLOCK_MONOTONIC or, with the manual clock, whatever the test says. A scenario is written through
 * the nvmlsim_* functions at the end (see driver.py); NVMLSIM_CTL names the machine's file for child processes.
 *
 *     cc -shared -fPIC -O1 -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 nvmlsim.c
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { GPUS = 8, MIGS = 7, STEPS = 1 << 14, FAULTS = 32, CALLS = 1 << 16, PIDS = 8, NAME = 48 };
enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { DOUBLE = 0, UINT = 1, ULONGLONG = 3 }; /* nvmlValueType_t */

/* What a GPU does over time. The limits are 1 while the limit holds, 0 otherwise; the activities are percents. */
enum quantity {
    POWER_MW, SM_MHZ, TEMPERATURE_C, MEMORY_USED, IDLE,
    LIMIT_POWER, LIMIT_THERMAL, LIMIT_SYNC_BOOST, LIMIT_BOARD, LIMIT_LOW_UTILIZATION, LIMIT_RELIABILITY,
    SM_ACTIVE, TENSOR_ACTIVE, DRAM_ACTIVE, QUANTITIES
};

/* How the driver tells it. */
enum setting {
    ENERGY_STEP_US, LIMIT_STEP_US, POWER_AVERAGE_US, COUNTERS_SINCE_NS, ENERGY_BASE_MJ,
    RING_PERIOD_US, RING_DEPTH, RING_OFFSET_US, RING_KIND, RING_IDLE,
    MIG_COUNT, GPM, SM_MHZ_MAX, MEMORY_TOTAL, POWER_LIMIT_MW, SETTINGS
};
enum ring_kind { RING_MEAN, RING_AVERAGED, RING_DUTY }; /* true means, a sliding second, a look at 25 % of the time */

struct step { int64_t at_ns; double value, area; }; /* area: the integral of the value over seconds up to at_ns */
struct trace { uint32_t n; struct step steps[STEPS]; };
struct gpu { char name[NAME]; int64_t settings[SETTINGS]; uint32_t pids[PIDS]; struct trace traces[QUANTITIES]; };
struct fault { char function[NAME]; int32_t gpu, ret, from, until, seen, hang; int64_t delay_ns; };
struct call { int64_t at_ns, took_ns; int32_t pid, tid, ret, gpu; char function[NAME]; };
struct machine {
    int32_t gpus, manual, faults, lifted; /* lifted: hanging calls of an older scenario return */
    int64_t now_ns;
    uint64_t calls;
    struct fault fault[FAULTS];
    struct gpu gpu[GPUS];
    struct call log[CALLS];
};
struct handle { int gpu, mig; }; /* mig -1: the whole GPU */

static struct machine *machine;
static struct handle handles[GPUS][MIGS + 1];
static int initialised; /* per process, as in the real library */

/* ---- time and physics -------------------------------------------------------------------------------------------- */

static int64_t host_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t now_ns(void) { return machine->manual ? machine->now_ns : host_ns(); }

/* The last step at or before t; the first one also answers for all time before it. */
static const struct step *step_at(const struct trace *trace, int64_t t)
{
    uint32_t low = 0, high = __atomic_load_n(&trace->n, __ATOMIC_ACQUIRE);
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        *(trace->steps[middle].at_ns <= t ? &low : &high) = middle;
    }
    return &trace->steps[low];
}

static double value_at(const struct gpu *gpu, enum quantity q, int64_t t) { return step_at(&gpu->traces[q], t)->value; }

static double area_until(const struct gpu *gpu, enum quantity q, int64_t t)
{
    const struct step *step = step_at(&gpu->traces[q], t);
    return step->area + step->value * (t - step->at_ns) / 1e9;
}

static double area(const struct gpu *gpu, enum quantity q, int64_t t0, int64_t t1)
{
    return area_until(gpu, q, t1) - area_until(gpu, q, t0);
}

static double mean(const struct gpu *gpu, enum quantity q, int64_t t0, int64_t t1)
{
    return t1 > t0 ? area(gpu, q, t0, t1) * 1e9 / (t1 - t0) : value_at(gpu, q, t1);
}

/* A cumulative counter: it counts from the last driver load and moves only every step_us. */
static double counter(const struct gpu *gpu, enum quantity q, int64_t step_us)
{
    int64_t t = now_ns(), since = gpu->settings[COUNTERS_SINCE_NS];
    if (step_us) t -= t % (step_us * 1000);
    return t > since ? area(gpu, q, since, t) : 0;
}

static uint64_t energy_mj(const struct gpu *gpu)
{
    return gpu->settings[ENERGY_BASE_MJ] + (uint64_t)counter(gpu, POWER_MW, gpu->settings[ENERGY_STEP_US]);
}

static uint64_t limit_ns(const struct gpu *gpu, enum quantity limit)
{
    return (uint64_t)(counter(gpu, limit, gpu->settings[LIMIT_STEP_US]) * 1e9);
}

static unsigned ring_value(const struct gpu *gpu, int64_t from, int64_t until)
{
    if (gpu->settings[RING_KIND] == RING_AVERAGED) from = until - 1000000000;
    if (gpu->settings[RING_KIND] == RING_DUTY) from = until - (until - from) / 4;
    return (unsigned)(mean(gpu, POWER_MW, from, until) + 0.5);
}

static unsigned long long reasons(const struct gpu *gpu)
{
    static const struct { enum quantity q; unsigned bit; } bits[] = {
        {IDLE, 0x1}, {LIMIT_POWER, 0x4}, {LIMIT_BOARD, 0x8}, {LIMIT_SYNC_BOOST, 0x10}, {LIMIT_THERMAL, 0x20}};
    unsigned long long set = 0;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (value_at(gpu, bits[i].q, now_ns())) set |= bits[i].bit;
    return set;
}

/* ---- every call passes here: logged, then made to fail, wait or hang as the scenario says ------------------------- */

static void map_machine(const char *path)
{
    int fd = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (fd >= 0 && ftruncate(fd, sizeof *machine)) { close(fd); fd = -1; }
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    machine = mmap(NULL, sizeof *machine, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (machine == MAP_FAILED) abort();
    if (fd >= 0) close(fd);
}

static void wait_ns(int64_t ns)
{
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    nanosleep(&t, NULL);
}

/* "*" is every function, but not every single field of nvmlDeviceGetFieldValues. */
static int is_meant(const struct fault *fault, const char *function, int gpu)
{
    int everything = !strcmp(fault->function, "*") && strncmp(function, "field ", 6);
    return (everything || !strcmp(fault->function, function)) && (fault->gpu < 0 || fault->gpu == gpu);
}

static int apply_faults(const char *function, int gpu)
{
    for (int i = 0; i < machine->faults; i++) {
        struct fault *fault = &machine->fault[i];
        if (!is_meant(fault, function, gpu)) continue;
        int seen = __atomic_fetch_add(&fault->seen, 1, __ATOMIC_RELAXED);
        if (seen < fault->from || seen >= fault->until) continue;
        if (fault->delay_ns) wait_ns(fault->delay_ns);
        for (int32_t lifted = machine->lifted; fault->hang && lifted == __atomic_load_n(&machine->lifted, __ATOMIC_ACQUIRE);)
            wait_ns(1000000);
        if (fault->ret) return fault->ret;
    }
    return OK;
}

static int enter(struct call **call, const char *function, const struct handle *handle)
{
    static struct call spill;
    if (!machine) map_machine(getenv("NVMLSIM_CTL"));
    uint64_t n = __atomic_fetch_add(&machine->calls, 1, __ATOMIC_ACQ_REL);
    int gpu = handle ? handle->gpu : -1;
    struct call *entry = *call = n < CALLS ? &machine->log[n] : &spill;
    entry->took_ns = entry->ret = -1; /* in flight */
    entry->pid = getpid();
    entry->tid = (int32_t)syscall(SYS_gettid);
    entry->gpu = gpu;
    strncpy(entry->function, function, NAME - 1);
    entry->at_ns = host_ns();
    return apply_faults(function, gpu);
}

static int leave(struct call *call, int ret)
{
    call->ret = ret;
    call->took_ns = host_ns() - call->at_ns;
    return ret;
}

#define RETURN(value) return leave(call, value)
#define ENTER(handle)                                                                                                  \
    struct call *call;                                                                                                 \
    int failed = enter(&call, __func__, handle);                                                                       \
    if (failed) RETURN(failed)
#define ENTER_INITIALISED(handle)                                                                                      \
    ENTER(handle);                                                                                                     \
    if (!initialised) RETURN(UNINITIALIZED)
/* For a device: `gpu` is its state; a MIG handle is told what the real driver tells it. */
#define ENTER_DEVICE(handle, on_mig)                                                                                   \
    if (!handle) return INVALID_ARGUMENT;                                                                              \
    ENTER_INITIALISED(handle);                                                                                         \
    if (handle->mig >= 0 && on_mig) RETURN(on_mig);                                                                    \
    struct gpu *gpu = &machine->gpu[handle->gpu]

/* ---- library ------------------------------------------------------------------------------------------------------ */

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    ENTER(NULL);
    initialised++;
    RETURN(OK);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
    ENTER_INITIALISED(NULL);
    initialised--;
    RETURN(OK);
}

const char *nvmlErrorString(int code)
{
    static const char *const texts[] = {
        "Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions",
        "Already Initialized", "Not Found", "Insufficient Size", "Insufficient External Power", "Driver Not Loaded",
        "Timeout", "Interrupt Request Issue", "NVML Shared Library Not Found", "Function Not Found",
        "Corrupted infoROM", "GPU is lost", "GPU requires reset", "The operating system has blocked the request",
        "RM has detected an NVML/RM version mismatch.", "In use by another client", "Insufficient Memory", "No data"};
    return code >= 0 && code < (int)(sizeof texts / sizeof *texts) ? texts[code] : "Unknown Error";
}

static int put_text(struct call *call, char *to, unsigned size, const char *text)
{
    if (strlen(text) >= size) RETURN(INSUFFICIENT_SIZE);
    strcpy(to, text);
    RETURN(OK);
}
int nvmlSystemGetDriverVersion(char *to, unsigned size) { ENTER_INITIALISED(NULL); return put_text(call, to, size, "580.65.06-SIM"); }
int nvmlSystemGetNVMLVersion(char *to, unsigned size) { ENTER_INITIALISED(NULL); return put_text(call, to, size, "13.580.65.06-SIM"); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { ENTER_INITIALISED(NULL); *version = 13000; RETURN(OK); }

/* ---- devices and MIG ---------------------------------------------------------------------------------------------- */

static void uuid_of(const struct handle *handle, char *to)
{
    if (handle->mig < 0) sprintf(to, "GPU-%08x-51b0-4000-8000-000000000000", 0x11111111 * (handle->gpu + 1));
    else sprintf(to, "MIG-%08x-51b0-5000-8000-%012x", 0x11111111 * (handle->gpu + 1), handle->mig + 1);
}

static struct handle *handle_of(int gpu, int mig)
{
    struct handle *handle = &handles[gpu][mig + 1];
    *handle = (struct handle){gpu, mig};
    return handle;
}

int nvmlDeviceGetCount_v2(unsigned *count) { ENTER_INITIALISED(NULL); *count = machine->gpus; RETURN(OK); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct handle **handle)
{
    ENTER_INITIALISED(NULL);
    if (index >= (unsigned)machine->gpus) RETURN(INVALID_ARGUMENT);
    *handle = handle_of(index, -1);
    RETURN(OK);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct handle **handle)
{
    ENTER_INITIALISED(NULL);
    char text[80];
    for (int gpu = 0; gpu < machine->gpus; gpu++)
        for (int mig = -1; mig < machine->gpu[gpu].settings[MIG_COUNT]; mig++) {
            *handle = handle_of(gpu, mig);
            uuid_of(*handle, text);
            if (!strcmp(text, uuid)) RETURN(OK);
        }
    RETURN(NOT_FOUND);
}

int nvmlDeviceGetUUID(struct handle *handle, char *to, unsigned size)
{
    ENTER_DEVICE(handle, OK);
    (void)gpu;
    char text[80];
    uuid_of(handle, text);
    return put_text(call, to, size, text);
}

int nvmlDeviceGetName(struct handle *handle, char *to, unsigned size)
{
    ENTER_DEVICE(handle, OK);
    char text[80];
    snprintf(text, sizeof text, handle->mig < 0 ? "%s" : "%s MIG 1g.10gb", gpu->name);
    return put_text(call, to, size, text);
}

int nvmlDeviceGetIndex(struct handle *handle, unsigned *index)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    (void)gpu;
    *index = handle->gpu;
    RETURN(OK);
}

int nvmlDeviceGetMigMode(struct handle *handle, unsigned *current, unsigned *pending)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *current = *pending = gpu->settings[MIG_COUNT] > 0;
    RETURN(OK);
}

int nvmlDeviceGetMaxMigDeviceCount(struct handle *handle, unsigned *count)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *count = gpu->settings[MIG_COUNT] ? MIGS : 0;
    RETURN(OK);
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct handle *handle, unsigned index, struct handle **mig)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    if (index >= gpu->settings[MIG_COUNT]) RETURN(NOT_FOUND);
    *mig = handle_of(handle->gpu, index);
    RETURN(OK);
}

int nvmlDeviceIsMigDeviceHandle(struct handle *handle, unsigned *is)
{
    ENTER_DEVICE(handle, OK);
    (void)gpu;
    *is = handle->mig >= 0;
    RETURN(OK);
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct handle *mig, struct handle **handle)
{
    ENTER_DEVICE(mig, OK);
    (void)gpu;
    if (mig->mig < 0) RETURN(INVALID_ARGUMENT);
    *handle = handle_of(mig->gpu, -1);
    RETURN(OK);
}

int nvmlDeviceGetGpuInstanceId(struct handle *handle, unsigned *id)
{
    ENTER_DEVICE(handle, OK);
    (void)gpu;
    if (handle->mig < 0) RETURN(INVALID_ARGUMENT);
    *id = handle->mig + 1;
    RETURN(OK);
}

/* ---- values of the moment ----------------------------------------------------------------------------------------- */

static double power_average_mw(const struct gpu *gpu)
{
    int64_t t = now_ns(), width = gpu->settings[POWER_AVERAGE_US] * 1000;
    return mean(gpu, POWER_MW, t - width, t);
}

int nvmlDeviceGetPowerUsage(struct handle *handle, unsigned *mw)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *mw = (unsigned)power_average_mw(gpu);
    RETURN(OK);
}

int nvmlDeviceGetTotalEnergyConsumption(struct handle *handle, unsigned long long *mj)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *mj = energy_mj(gpu);
    RETURN(OK);
}

int nvmlDeviceGetTemperature(struct handle *handle, int sensor, unsigned *celsius)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    if (sensor) RETURN(INVALID_ARGUMENT);
    *celsius = (unsigned)value_at(gpu, TEMPERATURE_C, now_ns());
    RETURN(OK);
}

struct temperature { unsigned version; int sensor, celsius; };
int nvmlDeviceGetTemperatureV(struct handle *handle, struct temperature *temperature)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    temperature->celsius = (int)value_at(gpu, TEMPERATURE_C, now_ns());
    RETURN(OK);
}

int nvmlDeviceGetClockInfo(struct handle *handle, int type, unsigned *mhz)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *mhz = type == 2 ? 2619 : (unsigned)value_at(gpu, SM_MHZ, now_ns());
    RETURN(OK);
}

int nvmlDeviceGetMaxClockInfo(struct handle *handle, int type, unsigned *mhz)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *mhz = type == 2 ? 2619 : (unsigned)gpu->settings[SM_MHZ_MAX];
    RETURN(OK);
}

int nvmlDeviceGetCurrentClocksEventReasons(struct handle *handle, unsigned long long *set)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *set = reasons(gpu);
    RETURN(OK);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct handle *handle, unsigned long long *set)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    *set = reasons(gpu);
    RETURN(OK);
}

struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(struct handle *handle, struct utilization *utilization)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    if (gpu->settings[MIG_COUNT]) RETURN(NOT_SUPPORTED);
    int64_t t = now_ns();
    utilization->gpu = (unsigned)mean(gpu, SM_ACTIVE, t - 166666667, t);
    utilization->memory = (unsigned)mean(gpu, DRAM_ACTIVE, t - 166666667, t);
    RETURN(OK);
}

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(struct handle *handle, struct memory *memory)
{
    ENTER_DEVICE(handle, OK);
    memory->total = gpu->settings[MEMORY_TOTAL];
    memory->used = (unsigned long long)value_at(gpu, MEMORY_USED, now_ns());
    memory->free = memory->total - memory->used;
    RETURN(OK);
}

struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(struct handle *handle, struct memory_v2 *memory)
{
    ENTER_DEVICE(handle, OK);
    memory->total = gpu->settings[MEMORY_TOTAL];
    memory->reserved = 0;
    memory->used = (unsigned long long)value_at(gpu, MEMORY_USED, now_ns());
    memory->free = memory->total - memory->used;
    RETURN(OK);
}

struct process { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; };
int nvmlDeviceGetComputeRunningProcesses_v3(struct handle *handle, unsigned *count, struct process *processes)
{
    ENTER_DEVICE(handle, OK);
    unsigned room = *count, n = 0;
    while (n < PIDS && gpu->pids[n]) n++;
    *count = n;
    if (n > room) RETURN(INSUFFICIENT_SIZE);
    for (unsigned i = 0; i < n; i++)
        processes[i] = (struct process){gpu->pids[i], 1 << 20, 0xFFFFFFFF, 0xFFFFFFFF};
    RETURN(OK);
}

/* ---- counters in one call, and the driver's own samples ------------------------------------------------------------ */

struct field {
    unsigned id, scope;
    long long stamp_us, latency_us;
    unsigned type;
    int ret;
    union { double real; unsigned u; unsigned long long ull; } value;
};

/* Only numbers that no release of nvidia-ml-py ever moved: 74 to 83 and 185 to 192. */
static int fill_field(const struct gpu *gpu, struct field *field)
{
    field->type = field->id < 80 || field->id == 83 || field->id == 191 ? ULONGLONG : UINT;
    switch (field->id) {
    case 74: case 75: case 76: case 77: case 78: case 79:
        field->value.ull = limit_ns(gpu, LIMIT_POWER + field->id - 74);
        return OK;
    case 82: field->value.u = (unsigned)value_at(gpu, TEMPERATURE_C, now_ns()); return OK;
    case 83: case 191: field->value.ull = energy_mj(gpu); return OK;
    case 185: field->value.u = (unsigned)power_average_mw(gpu); return OK;
    case 186: field->value.u = (unsigned)value_at(gpu, POWER_MW, now_ns()); return OK;
    case 188: case 189: case 190: case 192: field->value.u = (unsigned)gpu->settings[POWER_LIMIT_MW]; return OK;
    default: return NOT_SUPPORTED;
    }
}

int nvmlDeviceGetFieldValues(struct handle *handle, int count, struct field *fields)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    for (int i = 0; i < count; i++) {
        char name[NAME]; /* a single field can be made to fail: "field 83" */
        snprintf(name, sizeof name, "field %u", fields[i].id);
        fields[i].ret = apply_faults(name, handle->gpu);
        if (!fields[i].ret) fields[i].ret = fill_field(gpu, &fields[i]);
        fields[i].stamp_us = now_ns() / 1000;
    }
    RETURN(OK);
}

struct sample { unsigned long long stamp_us; union { double real; unsigned u; unsigned long long ull; } value; };
int nvmlDeviceGetSamples(struct handle *handle, int type, unsigned long long last_us, unsigned *value_type,
                         unsigned *count, struct sample *samples)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    int64_t *set = gpu->settings, period = set[RING_PERIOD_US] * 1000;
    if (type || set[MIG_COUNT] || !set[RING_DEPTH]) RETURN(NOT_SUPPORTED);
    int64_t newest = now_ns() / period, k = newest - set[RING_DEPTH] + 1;
    unsigned room = samples ? *count : 0, n = 0;
    *value_type = UINT;
    if (k < 1) k = 1;
    for (; k <= newest && !set[RING_IDLE]; k++) {
        unsigned long long stamp = k * period / 1000 + set[RING_OFFSET_US];
        if (stamp <= last_us || (samples && n == room)) continue;
        if (samples) {
            samples[n].stamp_us = stamp;
            samples[n].value.u = ring_value(gpu, (k - 1) * period, k * period);
        }
        n++;
    }
    *count = n;
    RETURN(n ? OK : NOT_FOUND);
}

/* ---- activity between two looks (GPM) ------------------------------------------------------------------------------ */

struct look { int gpu; int64_t at_ns; };
struct gpm_support { unsigned version, supported; };
struct gpm_metric { unsigned id; int ret; double value; const char *names[3]; };
struct gpm_metrics { unsigned version, count; struct look *first, *second; struct gpm_metric metrics[]; };

int nvmlGpmQueryDeviceSupport(struct handle *handle, struct gpm_support *support)
{
    ENTER_DEVICE(handle, OK);
    support->supported = gpu->settings[GPM] != 0;
    RETURN(OK);
}

int nvmlGpmSampleAlloc(struct look **look)
{
    ENTER_INITIALISED(NULL);
    *look = calloc(1, sizeof **look);
    RETURN(OK);
}

int nvmlGpmSampleFree(struct look *look)
{
    ENTER_INITIALISED(NULL);
    free(look);
    RETURN(OK);
}

int nvmlGpmSampleGet(struct handle *handle, struct look *look)
{
    ENTER_DEVICE(handle, NOT_SUPPORTED);
    if (!gpu->settings[GPM]) RETURN(NOT_SUPPORTED);
    *look = (struct look){handle->gpu, now_ns()};
    RETURN(OK);
}

int nvmlGpmMigSampleGet(struct handle *handle, unsigned instance, struct look *look)
{
    (void)instance;
    return nvmlGpmSampleGet(handle, look);
}

int nvmlGpmMetricsGet(struct gpm_metrics *get)
{
    ENTER_INITIALISED(NULL);
    struct look *a = get->first, *b = get->second;
    for (unsigned i = 0; i < get->count; i++) {
        struct gpm_metric *metric = &get->metrics[i];
        int q = metric->id == 2 ? SM_ACTIVE : metric->id == 5 ? TENSOR_ACTIVE : metric->id == 10 ? DRAM_ACTIVE : -1;
        metric->ret = q < 0 || b->at_ns <= a->at_ns ? NOT_SUPPORTED : OK;
        if (!metric->ret) metric->value = mean(&machine->gpu[a->gpu], q, a->at_ns, b->at_ns);
    }
    RETURN(OK);
}

/* ---- the scenario: what tests say (driver.py) ---------------------------------------------------------------------- */

void nvmlsim_attach(const char *path) { if (!machine) map_machine(path); }
int64_t nvmlsim_now(void) { return now_ns(); }
void nvmlsim_set_clock(int manual, int64_t at_ns) { machine->now_ns = at_ns; machine->manual = manual; }
void nvmlsim_setting(int gpu, int setting, int64_t value) { machine->gpu[gpu].settings[setting] = value; }
void nvmlsim_name(int gpu, const char *name) { snprintf(machine->gpu[gpu].name, NAME, "%s", name); }
void nvmlsim_pid(int gpu, int place, unsigned pid) { machine->gpu[gpu].pids[place] = pid; }
double nvmlsim_area(int gpu, int quantity, int64_t t0, int64_t t1) { return area(&machine->gpu[gpu], quantity, t0, t1); }
uint64_t nvmlsim_calls(void) { return __atomic_load_n(&machine->calls, __ATOMIC_ACQUIRE); }
const struct call *nvmlsim_log(void) { return machine->log; }
uint64_t nvmlsim_log_size(void) { return CALLS; }
void nvmlsim_forget_calls(void) { __atomic_store_n(&machine->calls, 0, __ATOMIC_RELEASE); }
int nvmlsim_initialised(void) { return initialised; }

/* From at_ns on the quantity has this value. Steps come in the order of time; -1: no room left, -2: out of order. */
int nvmlsim_step(int gpu, int quantity, int64_t at_ns, double value)
{
    struct trace *trace = &machine->gpu[gpu].traces[quantity];
    uint32_t n = trace->n;
    if (n && trace->steps[n - 1].at_ns > at_ns) return -2;
    if (n == STEPS) return -1;
    trace->steps[n] = (struct step){at_ns, value, n ? area_until(&machine->gpu[gpu], quantity, at_ns) : 0};
    __atomic_store_n(&trace->n, n + 1, __ATOMIC_RELEASE);
    return OK;
}

int nvmlsim_fault(const char *function, int gpu, int ret, int from, int until, int64_t delay_ns, int hang)
{
    if (machine->faults == FAULTS) return -1;
    struct fault *fault = &machine->fault[machine->faults];
    *fault = (struct fault){.gpu = gpu, .ret = ret, .from = from, .until = until, .delay_ns = delay_ns, .hang = hang};
    snprintf(fault->function, NAME, "%s", function);
    machine->faults++;
    return OK;
}

/* Lift every fault; calls that hang return. */
void nvmlsim_heal(void)
{
    machine->faults = 0;
    __atomic_fetch_add(&machine->lifted, 1, __ATOMIC_RELEASE);
}

/* A fresh machine: manual clock at at_ns, everything at rest. Log entries of the past are gone. */
void nvmlsim_reset(int gpus, int64_t at_ns)
{
    nvmlsim_heal();
    initialised = 0;
    machine->gpus = gpus;
    nvmlsim_set_clock(1, at_ns);
    for (int g = 0; g < gpus; g++) {
        memset(machine->gpu[g].settings, 0, sizeof machine->gpu[g].settings);
        memset(machine->gpu[g].pids, 0, sizeof machine->gpu[g].pids);
        for (int q = 0; q < QUANTITIES; q++) machine->gpu[g].traces[q].n = 0;
    }
    nvmlsim_forget_calls();
}
