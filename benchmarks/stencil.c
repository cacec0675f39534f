/* What benchmarks/growth.py compares with, compiled in its run: an explicit step as one would write it in C by hand, with
   three stored arrays of face coefficients and each row's extents; and the triad of McCalpin's STREAM. */
#include <stddef.h>

void euler(ptrdiff_t nz, ptrdiff_t ny, ptrdiff_t nx, const float *restrict u, float *restrict out,
           const float *restrict fz, const float *restrict fy, const float *restrict fx, const int *restrict lo,
           const int *restrict hi, float tau)
{
    const ptrdiff_t sy = nx, sz = nx * ny;
    for (ptrdiff_t z = 1; z < nz - 1; z++)
        for (ptrdiff_t y = 1; y < ny - 1; y++) {
            const ptrdiff_t row = z * sz + y * sy, end = row + hi[z * ny + y];
            for (ptrdiff_t i = row + lo[z * ny + y]; i < end; i++)
                out[i] = u[i] + tau * (fz[i] * (u[i + sz] - u[i]) + fz[i - sz] * (u[i - sz] - u[i])
                                     + fy[i] * (u[i + sy] - u[i]) + fy[i - sy] * (u[i - sy] - u[i])
                                     + fx[i] * (u[i + 1] - u[i]) + fx[i - 1] * (u[i - 1] - u[i]));
        }
}

void triad(ptrdiff_t n, double *restrict a, const double *restrict b, const double *restrict c, double scalar)
{
    for (ptrdiff_t i = 0; i < n; i++) a[i] = b[i] + scalar * c[i];
}
