/* Hides from a process everything that its processor has beyond AVX2 and FMA: AVX-512, VNNI and AMX. AVX2 is all that AWS
 * promises of Lambda on x86.
 *
 *   python -m benchmarks.avx2_only avx2_only.so FOLDER…
 *   LD_AUDIT=./avx2_only.so python …
 *
 * Libraries choose their kernels with the CPUID instruction. If the kernel supports CPUID faulting (arch_prctl(2),
 * ARCH_SET_CPUID), every CPUID instruction traps. Otherwise the linker calls la_objopen() for each library before any of
 * its code runs, and la_objopen() replaces the listed CPUID instructions with UD2, which traps too. The trap's handler
 * runs CPUID and removes those features from the answer. It changes neither what the C library chose earlier, nor what
 * unlisted libraries see. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define PAGE 4096ul
#define COUNT (sizeof listed / sizeof listed[0])

static const struct {
  const char *library;
  off_t bytes;
  uintptr_t address;
} listed[] = {
#include CPUIDS
};
static const unsigned char CPUID[] = {0x0f, 0xa2}, UD2[] = {0x0f, 0x0b};
static unsigned char *patched[COUNT];
static int faulting;

static void take_out(unsigned leaf, unsigned sub, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
  if (leaf == 7 && sub == 0) {
    *b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31); /* AVX-512 */
    *c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14); /* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
    *d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25); /* 4VNNIW…, FP16, AMX */
  }
  if (leaf == 7 && sub == 1) {
    *a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);            /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA */
    *d &= ~(1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19); /* AVX-VNNI-INT8 and -INT16, AVX-NE-CONVERT, AVX10 */
  }
}

static int is_ours(unsigned char *instruction) {
  if (faulting) return memcmp(instruction, CPUID, 2) == 0;
  for (size_t i = 0; i < COUNT; i++)
    if (patched[i] == instruction) return 1;
  return 0;
}

static void on_trap(int number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (!is_ours((unsigned char *)registers[REG_RIP])) { /* a real fault: it happens again and ends the process */
    signal(number, SIG_DFL);
    return;
  }
  unsigned leaf = registers[REG_RAX], sub = registers[REG_RCX], a, b, c, d;
  if (faulting) syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
  __cpuid_count(leaf, sub, a, b, c, d);
  if (faulting) syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
  take_out(leaf, sub, &a, &b, &c, &d);
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

unsigned la_version(unsigned version) {
  faulting = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == 0;
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(faulting ? SIGSEGV : SIGILL, &action, NULL);
  return LAV_CURRENT < version ? LAV_CURRENT : version;
}

static void give_up(const char *library, const char *message) {
  dprintf(2, "avx2_only: %s: %s\n", library, message);
  _exit(1);
}

unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
  const char *slash = strrchr(map->l_name, '/'), *name = slash ? slash + 1 : map->l_name;
  off_t bytes = -1;
  int found = 0;
  for (size_t i = 0; !faulting && i < COUNT; i++) {
    if (strcmp(listed[i].library, name)) continue;
    if (bytes < 0) {
      int file = open(map->l_name, O_RDONLY | O_CLOEXEC);
      bytes = lseek(file, 0, SEEK_END);
      close(file);
    }
    if (listed[i].bytes != bytes) continue; /* another version of the library */
    found = 1;
    if (!listed[i].address) continue; /* a library without CPUID */
    unsigned char *instruction = (unsigned char *)map->l_addr + listed[i].address;
    void *page = (void *)((uintptr_t)instruction & -PAGE);
    size_t length = (uintptr_t)instruction % PAGE == PAGE - 1 ? 2 * PAGE : PAGE;
    if (memcmp(instruction, CPUID, 2)) give_up(name, "a listed instruction is not CPUID");
    if (mprotect(page, length, PROT_READ | PROT_WRITE | PROT_EXEC)) give_up(name, "cannot make its code writable");
    memcpy(instruction, UD2, 2);
    mprotect(page, length, PROT_READ | PROT_EXEC);
    patched[i] = instruction;
  }
  if (bytes >= 0 && !found) give_up(name, "differs from the listed library; build avx2_only.so again");
  return 0;
}
