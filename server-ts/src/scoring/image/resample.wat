;; One pass of Pillow's resampling over 8-bit RGB; see pillow-resize.ts.
;; resample.wasm is made from it by `npx -p wabt@1.0.39 wat2wasm resample.wat -o resample.wasm`.
(module
  (memory (export "memory") 1)
  ;; Every output pixel is the weighted sum of `count` input pixels.
  ;; taps: for every output in turn i32 first, i32 count, then count weights, i32, times 2^22.
  ;; Steps are in bytes. Reads one byte after the last pixel of the source.
  (func (export "resample")
    (param $source i32) (param $target i32) (param $taps i32) (param $outputs i32) (param $lines i32)
    (param $tapStep i32) (param $sourceLineStep i32) (param $targetStep i32) (param $targetLineStep i32)
    (local $weights i32) (local $end i32) (local $weight i32) (local $line i32)
    (local $base i32) (local $at i32) (local $out i32) (local $sum v128)
    (loop $output
      (local.set $base (i32.add (local.get $source) (i32.mul (i32.load (local.get $taps)) (local.get $tapStep))))
      (local.set $weights (i32.add (local.get $taps) (i32.const 8)))
      (local.set $end (i32.add (local.get $weights) (i32.shl (i32.load offset=4 (local.get $taps)) (i32.const 2))))
      (local.set $out (local.get $target))
      (local.set $line (local.get $lines))
      (loop $line_
        (local.set $sum (v128.const i32x4 0x200000 0x200000 0x200000 0x200000))
        (local.set $at (local.get $base))
        (local.set $weight (local.get $weights))
        (loop $tap
          (local.set $sum
            (i32x4.add
              (local.get $sum)
              (i32x4.mul
                (v128.load32_splat (local.get $weight))
                (i32x4.extend_low_i16x8_u (i16x8.extend_low_i8x16_u (v128.load32_zero (local.get $at)))))))
          (local.set $at (i32.add (local.get $at) (local.get $tapStep)))
          (local.set $weight (i32.add (local.get $weight) (i32.const 4)))
          (br_if $tap (i32.lt_u (local.get $weight) (local.get $end))))
        (local.set $sum (i32x4.shr_s (local.get $sum) (i32.const 22)))
        (local.set $sum (i16x8.narrow_i32x4_s (local.get $sum) (local.get $sum)))
        (local.set $sum (i8x16.narrow_i16x8_u (local.get $sum) (local.get $sum)))
        (v128.store16_lane 0 (local.get $out) (local.get $sum))
        (v128.store8_lane offset=2 2 (local.get $out) (local.get $sum))
        (local.set $base (i32.add (local.get $base) (local.get $sourceLineStep)))
        (local.set $out (i32.add (local.get $out) (local.get $targetLineStep)))
        (local.set $line (i32.sub (local.get $line) (i32.const 1)))
        (br_if $line_ (local.get $line)))
      (local.set $taps (local.get $end))
      (local.set $target (i32.add (local.get $target) (local.get $targetStep)))
      (local.set $outputs (i32.sub (local.get $outputs) (i32.const 1)))
      (br_if $output (local.get $outputs)))))
