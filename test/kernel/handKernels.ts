// Kernels written by hand for the tests of kernel text, verifier and interpreter: each has odd sizes, so that every
// guard matters, and every index reaches both ends of its buffer, so that any shift of it is wrong.

const packed = Array.from({ length: 16 }, (_, lane) => `x[s*16 + ${lane}, c] valid seq - s*16 - ${lane}`).join(', ')

export const handKernels = {
  contraction: `
kernel contraction (sizes seq <= 77) {
  read x: f32[77:160, 160:1]
  read w: f32[437:160, 160:1]
  write y: f32[77:437, 437:1]
  register acc: f32[12:32, 32:1]
  grid m0 in (seq + 11) div 12 {
    grid n0 in 14 {
      serial i in 12 {
        lane j in 32 {
          acc[i, j] = 0.0
        }
      }
      serial k in 160 {
        unroll m1 in 12 {
          lane n1 in 32 {
            if (m0*12 + m1 < seq and n0*32 + n1 < 437) {
              acc[m1, n1] = fma(x[m0*12 + m1, k], w[n0*32 + n1, k], acc[m1, n1])
            }
          }
        }
      }
      unroll m2 in 12 {
        lane n2 in 32 {
          if (m0*12 + m2 < seq and n0*32 + n2 < 437) {
            y[m0*12 + m2, n0*32 + n2] = acc[m2, n2]
          }
        }
      }
    }
  }
}`,

  rowSum: `
kernel rowSum (sizes rows <= 9) {
  read x: f32[9:437, 437:1]
  write total: f32[9:1]
  register partial: f32[16:1]
  grid r in rows {
    lane z in 16 {
      partial[z] = 0.0
    }
    serial i in 28 {
      lane l in 16 {
        if (i*16 + l < 437) {
          partial[l] = add(partial[l], x[r, i*16 + l])
        }
      }
    }
    total[r] = tree(add, partial)
  }
}`,

  gather: `
kernel gather (sizes seq <= 33) {
  read ids: i32[33:1]
  read table: bf16[1003:7, 7:1]
  write y: f16[33:7, 7:1]
  grid t in seq {
    serial c in 7 {
      y[t, c] = table[value(ids[t] below 1003), c]
    }
  }
}`,

  partialLanes: `
kernel partialLanes (sizes seq <= 77) {
  read x: f32[77:1]
  write y: f32[77:1]
  grid j in (seq + 15) div 16 {
    let a = x[j*16]:16 valid min(16, seq - j*16)
    y[j*16]:16 valid min(16, seq - j*16) = fma(a, splat(2.0):16, toFloat(ramp(j*16):16))
  }
}`,

  blocks: `
kernel blocks (sizes seq <= 437) {
  read x: f32[437:1]
  write greatest: f32[7:1]
  register best: f32[]
  grid block in (seq + 63) div 64 {
    best[] = -inf
    serial i in min(64, seq - block*64) {
      best[] = max(best[], x[block*64 + i])
    }
    greatest[block] = best[]
  }
}`,

  transposed: `
kernel transposed (sizes seq <= 31) {
  read x: f32[31:9, 9:1]
  write y: f32[9:31, 31:1]
  scratch tile: f32[9:32, 32:1]
  grid f in 1 {
    serial c in 9 {
      serial s in 2 {
        tile[c, s*16]:16 = pack(${packed})
      }
      serial s2 in (seq + 15) div 16 {
        if (s2*16 + 15 < seq) {
          y[c, s2*16]:16 = tile[c, s2*16]:16
        }
        if (0 < seq - s2*16 and seq - s2*16 < 16) {
          y[c, s2*16]:16 valid seq - s2*16 = tile[c, s2*16]:16
        }
      }
    }
  }
}`,

  flattened: `
kernel flattened (sizes batch <= 3, seq <= 11) {
  read x: f32[3:11, 11:1]
  write y: f32[3:11, 11:1]
  grid p in 40 {
    if (p mod 11 < seq and p div 11 < batch) {
      y[p div 11, p mod 11] = neg(x[p div 11, p mod 11])
    }
  }
}`,

  workgroup: `
kernel workgroup (sizes seq <= 5) {
  read x: f32[5:8, 8:1]
  write y: f32[5:8, 8:1]
  workgroup shared: f32[8:1]
  register sum: f32[]
  grid r in seq {
    local t in 8 {
      shared[t] = x[r, t]
      sum[] = 0.0
      barrier
      serial step in 8 {
        sum[] = add(sum[], shared[(t + step) mod 8])
        barrier
      }
      y[r, t] = sum[]
    }
  }
}`,
} as const

export type HandKernel = keyof typeof handKernels
export const handKernelNames = Object.keys(handKernels) as HandKernel[]
