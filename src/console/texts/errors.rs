//! What goes wrong below, in the reader's language. Acts and views speak English; a field's complaint has a code, by which its
//! text is found, and any other sentence is found by its form, with its names and figures put in.
//!
//! Nothing is lost that is not known here: such a text stays as it came. The tests read the sources of all acts, and fail for a
//! code or a sentence that has no translation.

use crate::{admin::FieldError, users::Lang};

/// What is wrong with a field, as it stands beside it.
pub(crate) fn of_field(lang: Lang, error: &FieldError) -> String {
    match (lang, indonesian(error.code)) {
        (Lang::Id, Some(text)) => text.replace("{}", &error.message),
        _ => error.message.clone(),
    }
}

/// The same as a sentence of its own: with a capital and a full stop.
pub(crate) fn said(lang: Lang, error: &FieldError) -> String {
    sentence(&of_field(lang, error))
}

/// Errors are written to stand behind a colon.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

/// Why something was not done, or is not there.
pub(crate) fn why(lang: Lang, text: &str) -> String {
    if lang == Lang::En {
        return text.to_owned();
    }
    for (english, indonesian) in SENTENCES {
        if let Some(parts) = caught(english, text) {
            // What a part says may be a sentence of ours again.
            return parts.iter().fold((*indonesian).to_owned(), |text, part| text.replacen("{}", &why(lang, part), 1));
        }
    }
    text.to_owned()
}

/// What stands in the places of `{}`, if the text is of this form.
fn caught<'a>(form: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut pieces = form.split("{}");
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut parts = Vec::new();
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let at = if pieces.peek().is_none() {
            rest.ends_with(piece).then(|| rest.len() - piece.len())?
        } else {
            rest.find(piece)?
        };
        let (part, more) = rest.split_at_checked(at)?;
        parts.push(part);
        rest = more.strip_prefix(piece)?;
    }
    rest.is_empty().then_some(parts)
}

/// A code's text; `{}` is where what is said below it belongs, which tells more than any text of ours could.
fn indonesian(code: &str) -> Option<&'static str> {
    Some(match code {
        // Anywhere.
        "missing" => "Isian ini wajib diisi.",
        "taken" => "Nama ini sudah dipakai; berikan nama lain.",
        "not_a_name" => "Gunakan paling banyak 64 huruf, angka, `-`, `_` dan `.`.",
        "reserved" => "Nama ini dipakai oleh Tidegate sendiri; berikan nama lain.",
        "too_many" => "Terlalu banyak; kurangi isinya.",
        "twice" => "Salah satunya disebut dua kali.",
        "too_long" => "Teks ini terlalu panjang; singkatkan.",
        "out_of_range" => "Bilangan ini di luar batas yang diizinkan.",
        "in_the_past" => "Waktu ini sudah lewat; berikan waktu yang akan datang.",
        "in_the_future" => "Waktu ini belum tiba; yang belum datang tidak dapat direlakan.",
        "not_a_moment" => "Berikan waktu seperti 2026-05-01T08:00:00Z, ID sebuah pesan, atau `now`.",
        "moment" => "Tulis waktu seperti 2025-06-01T08:00:00Z.",
        "bound" => "Berikan waktu seperti 2025-06-01T08:00:00Z, atau ID pesan seperti k3v9x0q2ab-1763775403123-0.",
        "message_id" => "ID pesan berbentuk seperti k3v9x0q2ab-1763775403123-0.",
        "path" => "Jalur kolom data tidak sah: {}",
        "cursor" => "Tempat ini tidak ada dalam daftar; mulai lagi dari yang terbaru.",
        "unknown_word" => "Kata ini tidak dikenal di sini.",
        "one_of_two" => "Berikan salah satu: nilai yang sama, atau yang terkandung.",
        "not_days" => "Berikan jumlah hari dari 1 sampai 3650, atau kosongkan.",
        // Users and signing in.
        "user_name" => {
            "Ini bukan nama pengguna; berikan 1 sampai 64 huruf, angka, -, _, . atau @, diawali huruf atau angka."
        }
        "user_taken" => "Pengguna dengan nama ini sudah ada; berikan nama lain.",
        "password_short" => "Kata sandi terlalu pendek; berikan 12 karakter atau lebih.",
        "password_long" => "Kata sandi terlalu panjang; berikan paling banyak 256 karakter.",
        "password_is_name" => "Kata sandi sama dengan nama pengguna; berikan yang lain.",
        "password_common" => "Kata sandi ini termasuk yang paling dahulu dicoba orang; berikan yang lain.",
        "password_wrong" => "Ini bukan kata sandi Anda.",
        "password_differs" | "differs" => "Kedua kata sandi tidak sama.",
        "password_again" => "Servernya lain, jadi berikan kata sandinya lagi.",
        "password_wanted" => "Berikan kata sandi pengguna ini, atau kosongkan pengguna.",
        "code_wrong" => "Kode ini salah atau sudah dipakai; tunggu kode berikutnya, dan periksa jam perangkat.",
        // Settings and alerts.
        "retention" => "Ini bukan waktu atau jumlah pesan; berikan misalnya 24h, 1000000, 24h,1000000, atau forever.",
        "retention_long" => "Ini lebih dari sepuluh tahun; berikan yang lebih singkat, atau forever.",
        "percent" => "Berikan bilangan bulat persen dari 1 sampai 100.",
        "days" => "Berikan bilangan bulat hari dari 1 sampai 3650.",
        "soft_above_hard" => "Batas pertama harus di bawah batas kedua.",
        "marks_both" => "Berikan kedua batas, atau kosongkan keduanya.",
        "down_after" => "Berikan waktu dari 5 sampai 86400 detik.",
        "number" => "Berikan bilangan bulat.",
        "target_name" => "Berikan nama 1 sampai 64 karakter.",
        "target_kinds" => "Pilih sedikitnya satu jenis peringatan.",
        "target_taken" => "Target dengan nama ini sudah ada; berikan nama lain.",
        "webhook_url" => {
            "Ini bukan alamat webhook; berikan alamat yang diawali https://, tanpa pengguna dan kata sandi."
        }
        "mail_host" => "Berikan nama server surat, misalnya smtp.example.",
        "port" => "Berikan port dari 1 sampai 65535: 465 untuk TLS, 587 untuk STARTTLS.",
        "mail_to" => "Berikan 1 sampai 20 alamat e-mail, dipisahkan koma.",
        "mail_from" => "Berikan alamat e-mail yang boleh dipakai server sebagai pengirim.",
        "mail_tls" => "Kata sandi tidak dikirim tanpa pengamanan; pilih TLS atau STARTTLS.",
        // Destinations.
        "unknown_kind" => "Jenis basis data ini tidak dikenal; pilih salah satu dari daftar.",
        "fixed" => "Ini tidak dapat diubah lagi, karena rute-rutenya bergantung padanya; buat tujuan lain.",
        "no_master_key" => "Node ini tidak memiliki kunci utama untuk menyegelnya; atur `master_key_file`.",
        "unusable" => "Kata sandi yang tersimpan tidak dapat dipakai: {}",
        "not_for_kind" => "Ini tidak sesuai dengan jenis basis datanya: {}",
        "not_an_address" => "Ini bukan alamat; tulis misalnya mysql://user@host/database.",
        "not_a_port" => "Berikan port dari 1 sampai 65535.",
        "holds_a_password" => "Alamat ditampilkan dan dicatat; tulis kata sandi di isiannya sendiri.",
        "leads_elsewhere" => {
            "Hilangkan host, port dan kata sandi dari bagian setelah `?`; semuanya punya isian sendiri."
        }
        "check_failed" => "Pemeriksaan koneksi gagal: {}",
        "another_node" => "Berkas ini milik node lain, dan hanya dapat diperiksa di sana: {}",
        // Routes.
        "no_parallel" => {
            "Yang tiba di sana dibaca orang: harus berurutan dan sekali saja, dan itu tidak dijanjikan pengiriman paralel; pilih berurutan."
        }
        "unfit" => "Tidak cocok dengan tabelnya: {}",
        "invalid" => "Isian ini tidak dapat dipakai: {}",
        "unknown" => "Ini tidak dikenal: {}",
        "doubtful" => "Perlu diperhatikan: {}",
        "unchecked" => "Belum dapat diperiksa: {}",
        // Broadcasts.
        "before_sending" => "Pesan ini sudah berakhir sebelum dikirim; berikan waktu yang lebih lambat.",
        "id_reused" => "ID ini sudah dipakai untuk isi yang lain; berikan ID lain.",
        "line_break" => "Judul hanya satu baris.",
        "not_an_image" => "Berikan gambar PNG, JPEG, GIF atau WebP.",
        "not_a_time" => "Ini bukan waktu; pilih tanggal dan jam.",
        "too_far" => "Ini lebih dari 90 hari ke depan; berikan waktu yang lebih awal.",
        "too_large" => "Gambar ini lebih besar dari 512 KiB; perkecil dahulu.",
        "unknown_region" => "Tidak ada toko di wilayah ini: {}",
        "unknown_shop" => "Toko ini tidak ada: {}",
        // Dead letters.
        "dead_reason_missing" => "Tulis alasannya.",
        "record_too_long" => "Data ini lebih besar dari 1 MiB.",
        "record_no_json" => "Ini bukan JSON: {}",
        "record_no_object" => "Data harus berupa objek JSON seperti {\"id\": 1}; tidak ada yang ditulis.",
        _ => return None,
    })
}

/// Sentences that have no code, and what they are in Indonesian. The first that fits counts, so what ends in `{}` comes late.
const SENTENCES: &[(&str, &str)] = &[
    // What a destination is held for.
    (
        "this is not the database that destination `{}` was bound to: point it back to the old one, or say with `{}` from where on \
         this one is to be sent what `{}` has",
        "ini bukan basis data yang terikat pada tujuan `{}`: arahkan kembali ke yang lama, atau tentukan di sini (atau dengan `{}`) \
         dari mana isi `{}` dikirim ke yang ini",
    ),
    (
        "entries after {} up to {} were removed from the stream before they were delivered to destination `{}`; nothing more is \
         written until somebody decides with `{}` where to go on",
        "data setelah {} sampai {} dihapus dari aliran sebelum dikirim ke tujuan `{}`; tidak ada lagi yang ditulis sampai diputuskan \
         di sini (atau dengan `{}`) dari mana dilanjutkan",
    ),
    (
        "entries after {} and before {} were removed from the stream before they were delivered to destination `{}`; nothing more \
         is written until somebody decides with `{}` where to go on",
        "data setelah {} dan sebelum {} dihapus dari aliran sebelum dikirim ke tujuan `{}`; tidak ada lagi yang ditulis sampai \
         diputuskan di sini (atau dengan `{}`) dari mana dilanjutkan",
    ),
    ("destination `{}` waits for a decision: `{}`", "tujuan `{}` menunggu keputusan, di sini atau dengan `{}`"),
    // Redis, and others at work.
    ("Redis does not answer", "Redis tidak menjawab"),
    ("Redis did not answer in time", "Redis tidak menjawab tepat waktu"),
    ("no answer from Redis in time", "tidak ada jawaban dari Redis tepat waktu"),
    (
        "nothing listens at Redis's address: is it running?",
        "tidak ada yang menjawab di alamat Redis: apakah Redis berjalan?",
    ),
    (
        "Redis has lost the registry; it is being restored: try again",
        "Redis kehilangan registri; registri sedang dipulihkan: coba lagi",
    ),
    ("Redis has lost the registry; it is being restored", "Redis kehilangan registri; registri sedang dipulihkan"),
    (
        "Redis has gone back to version {} of the registry; version {} is being restored",
        "Redis kembali ke versi {} dari registri; versi {} sedang dipulihkan",
    ),
    (
        "Redis did not find the topic's last records in time",
        "Redis tidak menemukan data terakhir topik ini tepat waktu",
    ),
    ("Redis gave an answer that can't be understood ({})", "Redis memberi jawaban yang tidak dapat dipahami ({})"),
    ("the registry in Redis can't be understood", "registri di Redis tidak dapat dipahami"),
    ("Redis at {}: {}", "Redis di {}: {}"),
    (
        "the registry in Redis at {} cannot be understood ({}); was it written by a newer Tidegate?",
        "registri di Redis {} tidak dapat dipahami ({}); apakah ditulis oleh Tidegate yang lebih baru?",
    ),
    ("others change the same all the time; try again", "orang lain terus mengubah hal yang sama; coba lagi"),
    (
        "somebody else changed the registry meanwhile; look at what would change again",
        "orang lain mengubah registri sementara itu; lihat lagi apa yang akan berubah",
    ),
    (
        "{}; it is changed already: do the same again, so that the streams learn of it",
        "{}; perubahan sudah tersimpan: lakukan hal yang sama lagi, agar aliran data mengetahuinya",
    ),
    // Applications and keys.
    ("there is no application `{}`; did you mean `{}`?", "aplikasi `{}` tidak ada; apakah maksud Anda `{}`?"),
    ("there is no application `{}`", "aplikasi `{}` tidak ada"),
    ("there are {} applications already; remove some", "sudah ada {} aplikasi; hapus beberapa"),
    (
        "application `{}` has {} active keys already; revoke those that are no longer used",
        "aplikasi `{}` sudah memiliki {} kunci aktif; cabut yang tidak dipakai lagi",
    ),
    (
        "application `{}` has {} active keys ({}); revoke those that are no longer used first",
        "aplikasi `{}` memiliki {} kunci aktif ({}); cabut dahulu yang tidak dipakai lagi",
    ),
    ("application `{}` has no active key `{}`; {}", "aplikasi `{}` tidak memiliki kunci aktif `{}`"),
    ("application `{}` has no active key `{}`", "aplikasi `{}` tidak memiliki kunci aktif `{}`"),
    (
        "application `{}` has {} active keys ({}); say which one, or --all",
        "aplikasi `{}` memiliki {} kunci aktif ({}); pilih salah satu",
    ),
    // Destinations.
    ("there is no destination `{}` any more", "tujuan `{}` sudah tidak ada"),
    ("there is no destination `{}`; did you mean `{}`?", "tujuan `{}` tidak ada; apakah maksud Anda `{}`?"),
    ("there is no destination `{}`", "tujuan `{}` tidak ada"),
    ("destination `{}` is paused already", "tujuan `{}` sudah dijeda"),
    ("destination `{}` is not paused", "tujuan `{}` tidak dijeda"),
    ("the breaker of destination `{}` is open by hand already", "pemutus tujuan `{}` sudah dibuka secara manual"),
    ("at most {} checks a minute; wait a while", "paling banyak {} pemeriksaan per menit; tunggu sebentar"),
    ("there is no such check", "pemeriksaan ini tidak ada"),
    ("look again what waits", "lihat lagi apa yang menunggu"),
    (
        "the stream of `{}` is another one by now; look again what waits",
        "aliran data `{}` sudah berganti; lihat lagi apa yang menunggu",
    ),
    (" from application `{}`", " dari aplikasi `{}`"),
    ("no route leads{} to destination `{}`", "tidak ada rute{} ke tujuan `{}`"),
    ("message {} is not in the stream of `{}`", "pesan {} tidak ada dalam aliran data `{}`"),
    (
        "`{}` is a file on node `{}`, and this is `{}`: use the console of that node",
        "`{}` adalah berkas di node `{}`, dan ini `{}`: gunakan konsol node tersebut",
    ),
    (
        "the database did not describe its tables within {} s; look at its load",
        "basis data tidak menjelaskan tabelnya dalam {} detik; periksa bebannya",
    ),
    // Routes and replays.
    ("there is no route `{}`; did you mean `{}`?", "rute `{}` tidak ada; apakah maksud Anda `{}`?"),
    ("there is no route `{}`", "rute `{}` tidak ada"),
    ("there is no such version of `{}`", "versi tersebut dari `{}` tidak ada"),
    ("the address names no column", "alamat ini tidak menyebut kolom"),
    (
        "the address was cut short or changed on its way; begin again from the list",
        "alamat ini terpotong atau berubah di perjalanan; mulai lagi dari daftar",
    ),
    (
        "this route is too large for the editor; write it as a file and use `tidegate apply`",
        "rute ini terlalu besar untuk penyunting; tulis sebagai berkas dan gunakan `tidegate apply`",
    ),
    ("route `{}` was removed meanwhile", "rute `{}` sudah dihapus sementara itu"),
    (
        "route `{}` was changed meanwhile: it is at version {} now, and this began with version {}; look at what changed, and \
         edit it anew",
        "rute `{}` sudah diubah sementara itu: sekarang versi {}, sedangkan ini dimulai dari versi {}; lihat apa yang berubah, lalu \
         ubah lagi",
    ),
    (
        "route `{}` was changed meanwhile: it is at version {} now, and version {} was to be removed; look at what changed",
        "rute `{}` sudah diubah sementara itu: sekarang versi {}, sedangkan yang hendak dihapus versi {}; lihat apa yang berubah",
    ),
    ("there is nothing to send again", "tidak ada yang perlu dikirim ulang"),
    (
        "route `{}` has no `key`: each record sent again would be one row more. Give the route a key, or delete the rows and make \
         a new route with `start`; nothing was changed",
        "rute `{}` tidak memiliki `key`: setiap data yang dikirim ulang akan menjadi baris baru. Beri rute ini kunci, atau hapus \
         barisnya dan buat rute baru dengan `start`; tidak ada yang diubah",
    ),
    ("route `{}` leads to `{}`, which is not there", "rute `{}` menuju `{}`, yang tidak ada"),
    (
        "`{}` is a parallel destination: its consumer group cannot go back for one route; nothing was changed",
        "`{}` adalah tujuan paralel: grup pembacanya tidak dapat mundur untuk satu rute; tidak ada yang diubah",
    ),
    (
        "Redis knows no position of `{}` on the stream of `{}` (was it emptied?); choose `earliest` or `now`; nothing was \
         changed",
        "Redis tidak mengenal posisi `{}` dalam aliran data `{}` (apakah pernah dikosongkan?); pilih `earliest` atau `now`; \
         tidak ada yang diubah",
    ),
    ("choose where it goes on", "pilih dari mana dilanjutkan"),
    (
        "Redis knows no position of this destination on the stream of `{}`: nothing was sent yet",
        "Redis tidak mengenal posisi tujuan ini dalam aliran data `{}`: belum ada yang dikirim",
    ),
    (
        "message {} is not of this stream (was Redis emptied since?)",
        "pesan {} bukan dari aliran data ini (apakah Redis pernah dikosongkan?)",
    ),
    (
        "`--to` lies before `--from`: nothing is between them",
        "akhirnya mendahului awalnya: tidak ada apa pun di antaranya",
    ),
    ("this replay has ended already", "pengiriman ulang ini sudah selesai"),
    (
        "this replay goes on to where it meets the new records: stopped on the way, rows would stay in an earlier state. Let it come \
         to its end, or pause the destination; nothing was changed",
        "pengiriman ulang ini berlanjut sampai bertemu data baru: jika dihentikan di tengah jalan, baris akan tetap dalam keadaan lama. \
         Tunggu sampai selesai, atau jeda tujuannya; tidak ada yang diubah",
    ),
    // Messages, dead letters and jobs.
    (
        "there is no message of this id, or it is no longer retained",
        "pesan dengan ID ini tidak ada, atau tidak lagi disimpan",
    ),
    (
        "this dead letter is gone: it was redriven or discarded",
        "pesan gagal ini sudah tidak ada: sudah dikirim ulang atau dibuang",
    ),
    ("there is no dead letter `{}` here; {}", "pesan gagal `{}` tidak ada di sini"),
    ("`{}` is not an id; {}", "`{}` bukan ID pesan"),
    ("there are no such dead letters any more", "pesan gagal seperti itu sudah tidak ada"),
    (
        "there are {} of them by now, and {} were counted; look at them and say so again",
        "sekarang ada {}, sedangkan yang dihitung {}; lihat kembali lalu ulangi",
    ),
    (
        "there is no such job, or it ended more than a week ago",
        "pekerjaan ini tidak ada, atau sudah selesai lebih dari seminggu lalu",
    ),
    ("it has ended already", "sudah selesai"),
    // Users.
    ("there is no user `{}`; did you mean `{}`?", "pengguna `{}` tidak ada; apakah maksud Anda `{}`?"),
    ("there is no user `{}`", "pengguna `{}` tidak ada"),
    ("there is a user already", "sudah ada pengguna"),
    ("there are {} users already; remove some", "sudah ada {} pengguna; hapus beberapa"),
    ("there is no such role", "peran ini tidak ada"),
    ("there is no password", "kata sandi tidak diberikan"),
    ("there is no such act", "tindakan ini tidak dikenal"),
    (
        "too many wrong passwords; try again in some minutes",
        "terlalu banyak kata sandi yang salah; coba lagi dalam beberapa menit",
    ),
    ("too many wrong attempts; try again later", "terlalu banyak percobaan yang salah; coba lagi nanti"),
    (
        "`{}` is the last admin; make another user an admin first",
        "`{}` adalah admin terakhir; jadikan pengguna lain admin dahulu",
    ),
    ("this QR code is no longer good; begin again", "kode QR ini tidak berlaku lagi; mulai lagi"),
    ("the second factor can't be read: {}", "faktor kedua tidak dapat dibaca: {}"),
    ("the second factor's secret is damaged", "rahasia faktor kedua rusak"),
    ("a second factor needs a place for its secret, and {}", "rahasia faktor kedua perlu disegel, dan {}"),
    (
        "there is no master key; {}",
        "belum ada kunci utama; buat dengan `tidegate key generate-master`, simpan dalam berkas yang hanya boleh dibaca Tidegate, dan \
         sebutkan berkas itu di `master_key_file` (atau atur TIDEGATE_MASTER_KEY)",
    ),
    (
        "it was sealed with the master key {}, and the one given is {}; give that master key, or apply the password again",
        "ini disegel dengan kunci utama {}, sedangkan yang diberikan {}; berikan kunci utama itu, atau simpan kata sandinya lagi",
    ),
    (
        "it was changed since it was sealed, or sealed for something else; apply it again",
        "ini berubah sejak disegel, atau disegel untuk hal lain; simpan lagi",
    ),
    // Broadcasts, shops and terminals.
    ("there are {} categories already; remove some", "sudah ada {} kategori; hapus beberapa"),
    ("there is no such colour, sign or sound", "warna, tanda atau suara ini tidak ada"),
    ("there is no such image, or it is no longer kept", "gambar ini tidak ada, atau tidak lagi disimpan"),
    ("there is no such page", "halaman ini tidak ada"),
    (
        "shop `{}` has terminals ({}); move or revoke them first",
        "toko `{}` memiliki terminal ({}); pindahkan atau cabut dahulu",
    ),
    ("there are {} shops already; remove some", "sudah ada {} toko; hapus beberapa"),
    ("there are {} terminals already", "sudah ada {} terminal"),
    ("there is no such terminal", "terminal ini tidak ada"),
    ("this terminal is revoked; enrol it anew", "terminal ini sudah dicabut; daftarkan lagi"),
    ("this check is over; check again", "pemeriksaan ini sudah berakhir; periksa lagi"),
    ("this code was used, taken back, or is over", "kode ini sudah dipakai, ditarik, atau berakhir"),
    ("others change the same terminal all the time; try again", "terminal ini terus diubah oleh orang lain; coba lagi"),
    ("others change the same broadcast all the time; try again", "pesan ini terus diubah oleh orang lain; coba lagi"),
    ("there is no such broadcast, or it is no longer kept", "pesan ini tidak ada, atau tidak lagi disimpan"),
    (
        "it was recalled, and says nothing any more; send a new one",
        "pesan ini sudah ditarik dan tidak berlaku lagi; kirim pesan baru",
    ),
    ("it is over; nobody needs to be reminded of it", "pesan ini tidak berlaku lagi; tidak ada yang perlu diingatkan"),
    ("it is not sent yet", "pesan ini belum dikirim"),
    ("it was recalled", "pesan ini sudah ditarik"),
    ("this id is taken; send it again", "id ini sudah dipakai; kirim lagi"),
    ("Redis is full; nothing was sent", "Redis penuh; tidak ada yang dikirim"),
    // Alerts, the list of changes, the overview.
    ("there is no such alert target (any more)", "target peringatan ini tidak ada (lagi)"),
    ("there are {} targets already; remove some", "sudah ada {} target; hapus beberapa"),
    ("an alert target's secret needs to be sealed, and {}", "rahasia target peringatan perlu disegel, dan {}"),
    (
        "letters can't become a webhook; add one instead",
        "e-mail tidak dapat menjadi webhook; tambahkan webhook yang baru",
    ),
    (
        "a webhook can't become letters; add them instead",
        "webhook tidak dapat menjadi e-mail; tambahkan e-mail yang baru",
    ),
    ("only webhooks are signed", "hanya webhook yang ditandatangani"),
    ("there is no such place in the list of changes", "tempat ini tidak ada dalam daftar perubahan"),
    ("too many people look at this node already", "sudah terlalu banyak orang melihat node ini"),
    // What a failure of another sentence ends with.
    ("{}; nothing was changed", "{}; tidak ada yang diubah"),
    ("there is no {} `{}`; did you mean `{}`?", "{} `{}` tidak ada; apakah maksud Anda `{}`?"),
    ("there is no {} `{}`", "{} `{}` tidak ada"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::path::{Path, PathBuf};

    use super::*;

    /// The sources that acts, views and pages are made of, without their tests.
    fn sources() -> Vec<(PathBuf, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders: Vec<PathBuf> = ["admin", "users", "console"].iter().map(|name| root.join(name)).collect();
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if file.is_dir() && !file.ends_with("console/texts") {
                    folders.push(file);
                } else if file.extension().is_some_and(|kind| kind == "rs") {
                    let text = std::fs::read_to_string(&file).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
                    found.push((file, code));
                }
            }
        }
        found
    }

    /// A string literal at the beginning of this, and what follows it.
    fn literal(text: &str) -> Option<(String, &str)> {
        let text = text.trim_start().strip_prefix('"')?;
        let (mut out, mut letters) = (String::new(), text.char_indices());
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => return Some((out, &text[at + 1..])),
                '\\' => match letters.next()?.1 {
                    // A line that goes on with the next, whose indent does not count.
                    '\n' => {
                        let rest = letters.as_str();
                        let skipped = rest.len() - rest.trim_start().len();
                        for _ in 0..skipped {
                            letters.next();
                        }
                    }
                    other => out.push(other),
                },
                letter => out.push(letter),
            }
        }
        None
    }

    fn is_code(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }

    /// The codes of fields' complaints in a source.
    fn codes(source: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, begin) in source.match_indices("code: \"") {
            let (code, rest) = literal(&source[at + begin.len() - 1..]).unwrap();
            if !rest.starts_with(".into()") {
                found.push(code);
            }
        }
        for begin in ["wrong(", "refuse(", "Wrong::field(&page, "] {
            for (at, _) in source.match_indices(begin) {
                let arguments = &source[at + begin.len()..];
                let (first, rest) = match literal(arguments) {
                    Some((first, rest)) => (Some(first), rest),
                    // A variable of one word.
                    None => match arguments.split_once(',') {
                        Some((word, _)) if word.len() < 20 && !word.contains(['(', ')', ';', '\n']) => {
                            (None, &arguments[word.len()..])
                        }
                        _ => continue,
                    },
                };
                let second = rest.trim_start().strip_prefix(',');
                match second.and_then(literal) {
                    Some((second, _)) if is_code(&second) => found.push(second),
                    // The code stands first; but not where another's code follows the field.
                    _ if second.is_some_and(|second| second.trim_start().starts_with("error.code")) => {}
                    _ => found.extend(first.filter(|first| is_code(first) && first.contains('_'))),
                }
            }
        }
        for (at, begin) in source.match_indices("let code = ") {
            let line = source[at + begin.len()..].split(';').next().unwrap();
            found.extend(line.split('"').skip(1).step_by(2).filter(|text| is_code(text)).map(str::to_owned));
        }
        found
    }

    #[test]
    fn every_code_of_a_complaint_is_translated() {
        let (mut seen, mut without) = (0, Vec::new());
        for (file, source) in sources() {
            for code in codes(&source) {
                seen += 1;
                if indonesian(&code).is_none() {
                    without.push(format!("{}: no Indonesian for the code `{code}`", file.display()));
                }
            }
        }
        assert!(without.is_empty(), "{without:#?}");
        assert!(seen > 60, "the sources are read: {seen}");
    }

    #[test]
    fn every_sentence_of_a_refusal_is_translated() {
        let (mut seen, mut without) = (0, Vec::new());
        for (file, source) in sources() {
            for kind in ["Conflict(", "Unknown(", "Unavailable(", "PageError::Bad(", "NotFound("] {
                for (at, _) in source.match_indices(kind) {
                    let said = source[at + kind.len()..].trim_start();
                    let said = said.strip_prefix("format!(").unwrap_or(said);
                    let Some((form, _)) = literal(said) else { continue };
                    // A near name, which may be left out.
                    let form = form.replace("{hint}", "");
                    // With something in each place.
                    let mut text = String::new();
                    let mut rest = form.as_str();
                    while let Some((before, after)) = rest.split_once('{') {
                        text = text + before + "X1";
                        rest = after.split_once('}').unwrap().1;
                    }
                    text += rest;
                    if text == "X1" || text.is_empty() {
                        continue;
                    }
                    seen += 1;
                    let translated = why(Lang::Id, &text);
                    if translated == text {
                        without.push(format!("{}: no Indonesian for `{text}`", file.display()));
                    }
                    assert_eq!(why(Lang::En, &text), text);
                }
            }
        }
        assert!(without.is_empty(), "{without:#?}");
        assert!(seen > 40, "the sources are read: {seen}");
    }

    #[test]
    fn names_and_figures_stand_in_the_translation_and_what_is_not_known_stays() {
        assert_eq!(
            why(Lang::Id, "there is no route `a b`; did you mean `ab`?"),
            "rute `a b` tidak ada; apakah maksud Anda `ab`?"
        );
        assert_eq!(
            why(Lang::Id, "Redis does not answer; nothing was changed"),
            "Redis tidak menjawab; tidak ada yang diubah"
        );
        assert_eq!(why(Lang::Id, "server said {odd}"), "server said {odd}");
        let unfit = FieldError { field: "columns".into(), code: "unfit", message: "there is no column `x`".into() };
        assert_eq!(said(Lang::Id, &unfit), "Tidak cocok dengan tabelnya: there is no column `x`.");
        assert_eq!(said(Lang::En, &unfit), "There is no column `x`.");
        for (english, indonesian) in SENTENCES {
            let holes = |text: &str| text.matches("{}").count();
            assert!(holes(english) >= holes(indonesian) && !indonesian.is_empty(), "{english}");
        }
    }
}
