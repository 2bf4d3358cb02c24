//! The mistakes that the simulation must find: each is a rule of ARCHITECTURE.md ("The rules of delivery") left out or
//! done wrongly. They live in the simulated world or between it and the core; the core itself knows nothing of them.

/// A rule done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Everything as it should be.
    None,
    /// Rule 2: ids are compared across incarnations of Redis.
    NoGenerations,
    /// Rule 2: a producer's new connection appends without making sure of the generation.
    AppendWithoutGeneration,
    /// Rule 3: a lane that has no row yet begins at the end of the stream.
    StartAtNow,
    /// Rule 3: a take-over looks at the newest generation only.
    TakeOverJumpsToTheNewest,
    /// Rule 3: the rows are read first and fenced later, and the row of a next generation is made without a look at where the
    /// one before it stands: either alone is harmless.
    ClaimBeforeFence,
    /// Rule 3: any transaction makes a row that is missing.
    RowMadeOutsideTakeOver,
    /// Rule 3: the position in Redis is taken for the truth.
    PositionAsTruth,
    /// Rule 4: a read does not look at the trimmed mark.
    NoGapCheck,
    /// Rule 4: a read does not look at the generation.
    ReadIgnoresGeneration,
    /// Rule 4: a read does not look at the registry's version.
    ReadIgnoresVersion,
    /// Rule 4: an older generation is read beyond its end.
    UntilIgnored,
    /// Rule 5: a position is stored without its generation.
    PositionWithoutGeneration,
    /// Rule 5: a position is moved without a look at lease and generation.
    AdvanceUnchecked,
    /// Rule 6: trimming decides first and cuts later.
    TrimInTwoSteps,
    /// Rule 6: the trimmed mark stands above what has gone.
    MarkAboveWhatWent,
    /// Rule 6: a lane that has not arrived in the newest generation does not keep a stream from being trimmed.
    TrimIgnoresMissing,
    /// Rule 7: the fence does not look at the owner, only at where the watermark stands. (A number instead of a random token
    /// is too rare to be found here: three faults must meet.)
    NoOwner,
    /// Rule 7: the fence does not look at where the watermark stands.
    NoPrevious,
    /// Rule 7: the watermark moves in a transaction of its own, after the rows.
    WatermarkOutside,
    /// Rule 7: a lost answer is taken for a failure, and the rows are written again.
    LostReplyAsFailure,
    /// Rule 7: a lost answer is taken for a success.
    LostReplyAsSuccess,
    /// Rule 8: a held table's row is opened after the transaction that skips the table.
    SideOpenedApart,
    /// Rule 8: a side row reads beyond main.
    SideBeyondMain,
    /// Rule 8: a side row's transactions do not lock main's row.
    SideUnlocked,
    /// Rules 5 and 6: the stored position is main's, whatever side rows stand.
    PositionWithoutSides,
    /// Rule 8: a take-over does not see the side rows, and main carries their routes.
    SideRowsUnread,
    /// Rule 9: a route that has caught up is not marked, and is begun again.
    DoneForgotten,
    /// Rule 9: an owner that has not heard of a route that caught up passes it by.
    DoneUnheard,
    /// Rule 9: an owner that does not know of a backfill takes the stored position beyond its start.
    BackfillNotKept,
    /// Rule 13: the registry's routes begin now when they are written back into an emptied Redis.
    RegistryRestoredAtNow,
    /// Rule 13: a watermark that has gone back is not noticed.
    RestoreUnnoticed,
}

impl Mistake {
    pub(crate) const ALL: [Self; 31] = [
        Self::NoGenerations,
        Self::AppendWithoutGeneration,
        Self::StartAtNow,
        Self::TakeOverJumpsToTheNewest,
        Self::ClaimBeforeFence,
        Self::RowMadeOutsideTakeOver,
        Self::PositionAsTruth,
        Self::NoGapCheck,
        Self::ReadIgnoresGeneration,
        Self::ReadIgnoresVersion,
        Self::UntilIgnored,
        Self::PositionWithoutGeneration,
        Self::AdvanceUnchecked,
        Self::TrimInTwoSteps,
        Self::MarkAboveWhatWent,
        Self::TrimIgnoresMissing,
        Self::NoOwner,
        Self::NoPrevious,
        Self::WatermarkOutside,
        Self::LostReplyAsFailure,
        Self::LostReplyAsSuccess,
        Self::SideOpenedApart,
        Self::SideBeyondMain,
        Self::SideUnlocked,
        Self::PositionWithoutSides,
        Self::SideRowsUnread,
        Self::DoneForgotten,
        Self::DoneUnheard,
        Self::BackfillNotKept,
        Self::RegistryRestoredAtNow,
        Self::RestoreUnnoticed,
    ];

    /// Whether it takes a weather of its own to show.
    pub(crate) fn has_weather(self) -> bool {
        use Mistake as M;
        let rare = [
            M::AdvanceUnchecked,
            M::ClaimBeforeFence,
            M::MarkAboveWhatWent,
            M::NoOwner,
            M::ReadIgnoresVersion,
            M::SideOpenedApart,
            M::SideUnlocked,
            M::PositionWithoutSides,
            M::DoneForgotten,
            M::DoneUnheard,
            M::BackfillNotKept,
        ];
        rare.contains(&self)
    }
}
