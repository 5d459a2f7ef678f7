;; One AdamW update of four float32 arrays in this module's memory, four values at a time.
;; $weight … $second are byte offsets, $end is where the weights end; the numbers are those of AdamWFactors.
(module
  (memory (export "memory") 4)
  (func (export "update")
    (param $weight i32) (param $gradient i32) (param $first i32) (param $second i32) (param $end i32)
    (param $beta1 f32) (param $rest1 f32) (param $beta2 f32) (param $rest2 f32)
    (param $epsilon f32) (param $decay f32) (param $stepSize f32) (param $inverseCorrection f32)
    (local $g v128) (local $m v128) (local $v v128)
    (loop $next
      (local.set $g (v128.load (local.get $gradient)))
      ;; m = beta1·m + (1 − beta1)·g
      (local.set $m (f32x4.add
        (f32x4.mul (v128.load (local.get $first)) (f32x4.splat (local.get $beta1)))
        (f32x4.mul (local.get $g) (f32x4.splat (local.get $rest1)))))
      ;; v = beta2·v + (1 − beta2)·g²
      (local.set $v (f32x4.add
        (f32x4.mul (v128.load (local.get $second)) (f32x4.splat (local.get $beta2)))
        (f32x4.mul (f32x4.mul (local.get $g) (local.get $g)) (f32x4.splat (local.get $rest2)))))
      (v128.store (local.get $first) (local.get $m))
      (v128.store (local.get $second) (local.get $v))
      ;; w = decay·w − stepSize·m / (sqrt(v)·inverseCorrection + epsilon)
      (v128.store (local.get $weight) (f32x4.sub
        (f32x4.mul (v128.load (local.get $weight)) (f32x4.splat (local.get $decay)))
        (f32x4.div
          (f32x4.mul (local.get $m) (f32x4.splat (local.get $stepSize)))
          (f32x4.add
            (f32x4.mul (f32x4.sqrt (local.get $v)) (f32x4.splat (local.get $inverseCorrection)))
            (f32x4.splat (local.get $epsilon))))))
      (local.set $weight (i32.add (local.get $weight) (i32.const 16)))
      (local.set $gradient (i32.add (local.get $gradient) (i32.const 16)))
      (local.set $first (i32.add (local.get $first) (i32.const 16)))
      (local.set $second (i32.add (local.get $second) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $weight) (local.get $end))))))
