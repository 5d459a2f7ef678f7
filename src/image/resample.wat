;; Weighted sums of 8-bit pixels along one axis, in fixed point with 22 bits after the point (resize.ts).
;; A 22-bit weight is split into an upper part (w >> 12) and a lower one (w & 4095), which fit the 16 bits of
;; i32x4.dot_i16x8_s; the sum is (Σ p·upper << 12) + Σ p·lower, the same to the bit, as all is modulo 2³². Weights come in
;; pairs: upper, upper, lower, lower. Reads go up to one pixel or row, writes up to 15 bytes past the end.
(module
  (memory (export "memory") 1)

  ;; Each of $height rows of pixels becomes $width pixels of the same 3 or 4 channels. $starts: byte offset within the
  ;; row of each output pixel's first input pixel.
  (func (export "rows")
    (param $input i32) (param $inputStride i32) (param $height i32) (param $output i32) (param $width i32)
    (param $starts i32) (param $weights i32) (param $pairs i32) (param $channels i32)
    (local $start i32) (local $startsEnd i32) (local $weight i32) (local $weightEnd i32) (local $from i32) (local $step i32)
    (local $order v128) (local $pixels v128) (local $upper v128) (local $lower v128)
    (local.set $startsEnd (i32.add (local.get $starts) (i32.shl (local.get $width) (i32.const 2))))
    (local.set $step (i32.shl (local.get $channels) (i32.const 1)))
    ;; Two pixels, as 16-bit values channel by channel.
    (local.set $order (select
      (v128.const i8x16 0 -1 3 -1 1 -1 4 -1 2 -1 5 -1 -1 -1 -1 -1)
      (v128.const i8x16 0 -1 4 -1 1 -1 5 -1 2 -1 6 -1 3 -1 7 -1)
      (i32.eq (local.get $channels) (i32.const 3))))
    (loop $nextRow
      (local.set $start (local.get $starts))
      (local.set $weight (local.get $weights))
      (loop $nextPixel
        (local.set $from (i32.add (local.get $input) (i32.load (local.get $start))))
        (local.set $weightEnd (i32.add (local.get $weight) (i32.shl (local.get $pairs) (i32.const 3))))
        (local.set $upper (v128.const i32x4 0 0 0 0))
        (local.set $lower (v128.const i32x4 0x200000 0x200000 0x200000 0x200000)) ;; a half: for rounding
        (loop $nextPair
          (local.set $pixels (i8x16.swizzle (v128.load64_zero (local.get $from)) (local.get $order)))
          (local.set $upper (i32x4.add (local.get $upper)
            (i32x4.dot_i16x8_s (local.get $pixels) (v128.load32_splat (local.get $weight)))))
          (local.set $lower (i32x4.add (local.get $lower)
            (i32x4.dot_i16x8_s (local.get $pixels) (v128.load32_splat offset=4 (local.get $weight)))))
          (local.set $from (i32.add (local.get $from) (local.get $step)))
          (local.set $weight (i32.add (local.get $weight) (i32.const 8)))
          (br_if $nextPair (i32.lt_u (local.get $weight) (local.get $weightEnd))))
        (local.set $upper (i32x4.shr_s
          (i32x4.add (i32x4.shl (local.get $upper) (i32.const 12)) (local.get $lower)) (i32.const 22)))
        (local.set $upper (i16x8.narrow_i32x4_s (local.get $upper) (local.get $upper)))
        (v128.store32_lane 0 (local.get $output) (i8x16.narrow_i16x8_u (local.get $upper) (local.get $upper)))
        (local.set $output (i32.add (local.get $output) (local.get $channels)))
        (local.set $start (i32.add (local.get $start) (i32.const 4)))
        (br_if $nextPixel (i32.lt_u (local.get $start) (local.get $startsEnd))))
      (local.set $input (i32.add (local.get $input) (local.get $inputStride)))
      (local.set $height (i32.sub (local.get $height) (i32.const 1)))
      (br_if $nextRow (local.get $height))))

  ;; Rows of $stride bytes become $height such rows. $starts: byte offset of each output row's first input row.
  (func (export "columns")
    (param $input i32) (param $stride i32) (param $output i32) (param $height i32)
    (param $starts i32) (param $weights i32) (param $pairs i32)
    (local $startsEnd i32) (local $column i32) (local $weight i32) (local $weightEnd i32) (local $from i32)
    (local $wu v128) (local $wl v128) (local $a v128) (local $b v128) (local $ab v128) (local $p v128)
    (local $u0 v128) (local $u1 v128) (local $u2 v128) (local $u3 v128)
    (local $l0 v128) (local $l1 v128) (local $l2 v128) (local $l3 v128)
    (local.set $startsEnd (i32.add (local.get $starts) (i32.shl (local.get $height) (i32.const 2))))
    (loop $nextRow
      (local.set $weightEnd (i32.add (local.get $weights) (i32.shl (local.get $pairs) (i32.const 3))))
      (local.set $column (i32.const 0))
      (loop $nextColumns ;; sixteen at a time
        (local.set $from (i32.add (i32.add (local.get $input) (i32.load (local.get $starts))) (local.get $column)))
        (local.set $weight (local.get $weights))
        (local.set $u0 (v128.const i32x4 0 0 0 0))
        (local.set $u1 (local.get $u0))
        (local.set $u2 (local.get $u0))
        (local.set $u3 (local.get $u0))
        (local.set $l0 (v128.const i32x4 0x200000 0x200000 0x200000 0x200000))
        (local.set $l1 (local.get $l0))
        (local.set $l2 (local.get $l0))
        (local.set $l3 (local.get $l0))
        (loop $nextPair
          (local.set $wu (v128.load32_splat (local.get $weight)))
          (local.set $wl (v128.load32_splat offset=4 (local.get $weight)))
          (local.set $a (v128.load (local.get $from)))
          (local.set $b (v128.load (i32.add (local.get $from) (local.get $stride))))
          (local.set $ab (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23 (local.get $a) (local.get $b)))
          (local.set $p (i16x8.extend_low_i8x16_u (local.get $ab)))
          (local.set $u0 (i32x4.add (local.get $u0) (i32x4.dot_i16x8_s (local.get $p) (local.get $wu))))
          (local.set $l0 (i32x4.add (local.get $l0) (i32x4.dot_i16x8_s (local.get $p) (local.get $wl))))
          (local.set $p (i16x8.extend_high_i8x16_u (local.get $ab)))
          (local.set $u1 (i32x4.add (local.get $u1) (i32x4.dot_i16x8_s (local.get $p) (local.get $wu))))
          (local.set $l1 (i32x4.add (local.get $l1) (i32x4.dot_i16x8_s (local.get $p) (local.get $wl))))
          (local.set $ab (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31 (local.get $a) (local.get $b)))
          (local.set $p (i16x8.extend_low_i8x16_u (local.get $ab)))
          (local.set $u2 (i32x4.add (local.get $u2) (i32x4.dot_i16x8_s (local.get $p) (local.get $wu))))
          (local.set $l2 (i32x4.add (local.get $l2) (i32x4.dot_i16x8_s (local.get $p) (local.get $wl))))
          (local.set $p (i16x8.extend_high_i8x16_u (local.get $ab)))
          (local.set $u3 (i32x4.add (local.get $u3) (i32x4.dot_i16x8_s (local.get $p) (local.get $wu))))
          (local.set $l3 (i32x4.add (local.get $l3) (i32x4.dot_i16x8_s (local.get $p) (local.get $wl))))
          (local.set $from (i32.add (local.get $from) (i32.shl (local.get $stride) (i32.const 1))))
          (local.set $weight (i32.add (local.get $weight) (i32.const 8)))
          (br_if $nextPair (i32.lt_u (local.get $weight) (local.get $weightEnd))))
        (v128.store (i32.add (local.get $output) (local.get $column))
          (i8x16.narrow_i16x8_u
            (i16x8.narrow_i32x4_s
              (i32x4.shr_s (i32x4.add (i32x4.shl (local.get $u0) (i32.const 12)) (local.get $l0)) (i32.const 22))
              (i32x4.shr_s (i32x4.add (i32x4.shl (local.get $u1) (i32.const 12)) (local.get $l1)) (i32.const 22)))
            (i16x8.narrow_i32x4_s
              (i32x4.shr_s (i32x4.add (i32x4.shl (local.get $u2) (i32.const 12)) (local.get $l2)) (i32.const 22))
              (i32x4.shr_s (i32x4.add (i32x4.shl (local.get $u3) (i32.const 12)) (local.get $l3)) (i32.const 22)))))
        (local.set $column (i32.add (local.get $column) (i32.const 16)))
        (br_if $nextColumns (i32.lt_u (local.get $column) (local.get $stride))))
      (local.set $weights (local.get $weightEnd))
      (local.set $output (i32.add (local.get $output) (local.get $stride)))
      (local.set $starts (i32.add (local.get $starts) (i32.const 4)))
      (br_if $nextRow (i32.lt_u (local.get $starts) (local.get $startsEnd))))))
