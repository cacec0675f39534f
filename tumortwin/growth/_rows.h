/* _row.h for float and double, and the flushing of denormal numbers. */
#ifndef TUMORTWIN_ROWS_H
#define TUMORTWIN_ROWS_H

#include <stddef.h>
#include <stdint.h>

/* glibc resolves clones when a program starts; other systems get the baseline, or what the compiler was told. Clones are
   named by their instructions: "arch=haswell" would be taken on that very model only. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define WIDE
#endif

#if defined(__clang__)
#define IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define IVDEP _Pragma("GCC ivdep")
#else
#define IVDEP
#define __attribute__(x)
#endif

/* rows are whole blocks of this many voxels, and begin at one: no vector loop has a remainder */
#define BLOCK 16

#define REAL float
#define FACE uint16_t
#define NAMED(x) x##_float
#include "_row.h"
#undef REAL
#undef FACE
#undef NAMED

#define REAL double
#define FACE double
#define NAMED(x) x##_double
#include "_row.h"
#undef REAL
#undef FACE
#undef NAMED

/* Far from the tumor the density decays into numbers too small to be normal, on which some CPUs are a hundred times
   slower. They count as 0 between flush_denormals() and restore_denormals(), on this thread alone. */
#if defined(__SSE2__)
#include <xmmintrin.h>
static inline unsigned long long flush_denormals(void)
{
    const unsigned int before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static inline void restore_denormals(unsigned long long before) { _mm_setcsr((unsigned int)before); }
#elif defined(__aarch64__) && defined(__GNUC__)
static inline unsigned long long flush_denormals(void)
{
    unsigned long long before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1ULL << 24)));
    return before;
}
static inline void restore_denormals(unsigned long long before) { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
#else
static inline unsigned long long flush_denormals(void) { return 0; }
static inline void restore_denormals(unsigned long long before) { (void)before; }
#endif

#endif
