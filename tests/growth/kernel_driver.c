/* The kernel without Python, for other processors: takes steps of 2, 3 and 7 stages on a small masked problem in both
   precisions and compares them with the same scheme in plain loops. Exits with 1 where they disagree. See
   test_other_processors.py. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "_rows.h"

enum { NZ = 9, NY = 11, NX = 48, N = NZ * NY * NX, MOST = 7 };

static unsigned int state = 12345;
static double draw(void) /* 0..1 */
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) / 16777216.0;
}

static double d[N], face[3][N];
static int lo[NZ * NY], hi[NZ * NY];

static double harmonic(double a, double b) { return a > 0 && b > 0 ? 2 * a * b / (a + b) : 0; }

static void problem(void)
{
    const int step[3] = {NY * NX, NX, 1};
    for (int z = 0; z < NZ; z++)
        for (int y = 0; y < NY; y++) {
            lo[z * NY + y] = hi[z * NY + y] = 0;
            for (int x = 0; x < NX; x++) {
                const int inside = z > 0 && z < NZ - 1 && y > 0 && y < NY - 1 && x > 0 && x < NX - 7 && draw() < 0.8;
                d[(z * NY + y) * NX + x] = inside ? draw() : 0;
                if (!inside) continue;
                if (!hi[z * NY + y]) lo[z * NY + y] = x;
                hi[z * NY + y] = x + 1;
            }
        }
    for (int axis = 0; axis < 3; axis++)
        for (int i = 0; i + step[axis] < N; i++)
            face[axis][i] = floor(harmonic(d[i], d[i + step[axis]]) * 65535 + 0.5) / 65535;
}

/* The Legendre recurrence in plain loops, double precision. */
static void plain(double *u, int stages, const double *coefficients, double tau, double share, double growth,
                  double crowding)
{
    static double before[N], last[N], next[N];
    const int step[3] = {NY * NX, NX, 1};
    memcpy(before, u, sizeof before);
    memcpy(last, u, sizeof last);
    for (int j = 0; j < stages; j++) {
        for (int i = 0; i < N; i++) {
            double flow = 0;
            for (int axis = 0; axis < 3; axis++) {
                const int s = step[axis];
                if (i + s < N) flow += face[axis][i] * (last[i + s] - last[i]);
                if (i >= s) flow += face[axis][i - s] * (last[i - s] - last[i]);
            }
            next[i] = last[i] + coefficients[2 * j] * (last[i] - before[i]) + coefficients[2 * j + 1] * tau * flow;
        }
        memcpy(before, last, sizeof before);
        memcpy(last, next, sizeof last);
    }
    for (int i = 0; i < N; i++) {
        const double v = u[i] + share * (last[i] - u[i]);
        u[i] = growth * v / (1 + crowding * v);
    }
}

#define CHECK(REAL, FACE, SUFFIX, LEVELS, TOLERANCE)                                                                  \
    static int check_##SUFFIX(int stages, double tau, const double *coefficients, double share)                       \
    {                                                                                                                 \
        static REAL u[N + 64], odd[N + 64], even[N + 64];                                                             \
        static FACE f[3][N + 64];                                                                                     \
        static double wanted[N];                                                                                      \
        double worst = 0;                                                                                             \
        for (int i = 0; i < N; i++) {                                                                                 \
            u[i] = (REAL)(d[i] > 0 ? draw() : 0);                                                                     \
            wanted[i] = u[i];                                                                                         \
            for (int axis = 0; axis < 3; axis++) f[axis][i] = (FACE)(face[axis][i] * (LEVELS) + (LEVELS > 1) * 0.5);  \
        }                                                                                                             \
        const double unit = tau / (LEVELS);                                                                           \
        const Field_##SUFFIX field = {u, odd, even, f[0], f[1], f[2], unit, unit, unit,                               \
                                      lo, hi, NY, NX, 1, NZ - 1, 1, NY - 1, 1, NX - 7};                               \
        const unsigned long long before = flush_denormals();                                                          \
        for (int n = 0; n < 10; n++) {                                                                                \
            wave_##SUFFIX(&field, stages, 1, NZ - 1, 0, 0, 3, coefficients, share, 1.1, 0.1);                         \
            plain(wanted, stages, coefficients, tau, share, 1.1, 0.1);                                                \
        }                                                                                                             \
        restore_denormals(before);                                                                                    \
        for (int i = 0; i < N; i++) {                                                                                 \
            const double off = d[i] == 0 && u[i] != 0 ? INFINITY : fabs(u[i] - wanted[i]);                            \
            if (off > worst || off != off) worst = off;                                                               \
        }                                                                                                             \
        printf("%d stages, " #REAL ": largest difference from plain loops %.2g (at most %.2g)\n", stages, worst,      \
               TOLERANCE);                                                                                            \
        return !(worst <= TOLERANCE);                                                                                 \
    }

CHECK(float, uint16_t, float, 65535.0, 2e-5)
CHECK(double, double, double, 1.0, 1e-12)

int main(void)
{
    const int tried[] = {2, 3, MOST};
    int wrong = 0;
    problem();
    for (int i = 0; i < 3; i++) {
        const int s = tried[i], length = s * s + s - 2;
        double coefficients[2 * MOST];
        for (int j = 1; j <= s; j++) {
            coefficients[2 * j - 2] = (j - 1.0) / j;
            coefficients[2 * j - 1] = (2 * j - 1.0) / j * 4 / length;
        }
        const double tau = length / 27.0, share = length / (2.0 * s * (s + 1)); /* 0.9 of the longest stable step */
        wrong |= check_float(s, tau, coefficients, share) | check_double(s, tau, coefficients, share);
    }
    return wrong;
}
